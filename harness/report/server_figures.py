"""Charts of what the server held along the window of one point: its KV cache, its queue, its batch."""

from __future__ import annotations

import numpy as np

from harness.measure import timeline
from harness.observe import step_series, steps
from harness.report.axis import Axis, axis
from harness.report.figures import Figure
from harness.report.palette import PHASES, colour, dash
from harness.report.svg import Chart
from harness.report.view import PointView, number
from harness.run_folder import STEPS


def over_time(point: PointView) -> list[Figure]:
    """KV use, queue and batch over time; nothing where the server's steps don't tell."""
    table = steps.read(point.folder / STEPS) if point.folder else None
    last_s = max((phase.ended_s for phase in timeline.phases(point.records)), default=0.0)
    if table is None or last_s <= 0:
        return []
    series = step_series.series(table, timeline.interval_s(point.records), last_s)
    return [] if series is None else [_kv_use(series), _batch(series)]


def _kv_use(series: step_series.StepSeries) -> Figure:
    chart = Chart("KV cache in use over time", _time(series), Axis("share of blocks", 0.0, 1.0))
    chart.line(_middles(series), series.kv_use.tolist(), colour(0))
    note = f"share of {series.num_blocks:,} blocks, mean per {number(series.interval_s)} s, as the server's steps tell"
    return Figure("KV use over time", chart.render(), note)


def _batch(series: step_series.StepSeries) -> Figure:
    shown = {"waiting in the server": series.requests_queued, "sequences per decode step": series.decode_batch_size}
    hues = (PHASES["queue"], PHASES["decode"])
    known = np.concatenate([values[np.isfinite(values)] for values in shown.values()])
    chart = Chart("Decode batch and queue over time", _time(series), axis("sequences", known))
    for order, (values, hue) in enumerate(zip(shown.values(), hues, strict=True)):
        places = np.isfinite(values)
        chart.line(np.asarray(_middles(series))[places].tolist(), values[places].tolist(), hue, dash(order))
    note = f"mean per {number(series.interval_s)} s, as the server's steps tell"
    return Figure("Batch and queue in the server", chart.render(), note, list(zip(shown, hues, strict=True)))


def _time(series: step_series.StepSeries) -> Axis:
    return axis("time since the start, s", [0.0, float(series.end_s[-1])])


def _middles(series: step_series.StepSeries) -> list[float]:
    middles: list[float] = (series.end_s - series.interval_s / 2).tolist()
    return middles
