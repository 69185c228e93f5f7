"""Charts of what the server held along the window of one point: its KV cache, its queue, its batch."""

from __future__ import annotations

import numpy as np

from harness.measure import timeline, window_series
from harness.observe import steps
from harness.report.axis import Axis, axis
from harness.report.figures import Figure
from harness.report.palette import PHASES, colour, dash
from harness.report.svg import Chart
from harness.report.view import PointView, number
from harness.run_folder import STEPS
from harness.time_series import TimeSeries


def over_time(point: PointView) -> list[Figure]:
    """KV use, queue and batch over time; nothing where the server's steps don't tell."""
    table = steps.read(point.folder / STEPS) if point.folder else None
    every_s = window_series.drawn_interval_s(point.records)
    of_steps = window_series.of_steps(table, every_s, timeline.last_s(point.records))
    if table is None or not of_steps:
        return []
    series = {one.name: one for one in of_steps}
    x = axis("time since the start, s", [0.0, float(series["kv_use"].times_s[-1])])
    note = f"mean per {number(every_s)} s, as the server's steps tell"
    kv_use = Chart("KV cache in use over time", x, Axis("share of blocks", 0.0, 1.0))
    _draw(kv_use, series["kv_use"], every_s, colour(0))
    shown = {
        "waiting in the server": series["requests_queued"],
        "sequences per decode step": series["decode_batch_size"],
    }
    hues = (PHASES["queue"], PHASES["decode"])
    y = axis("sequences", np.concatenate([one.values for one in shown.values()]))
    batch = Chart("Decode batch and queue over time", x, y)
    for order, (one, hue) in enumerate(zip(shown.values(), hues, strict=True)):
        _draw(batch, one, every_s, hue, dash(order))
    legend = list(zip(shown, hues, strict=True))
    return [
        Figure("KV use over time", kv_use.render(), f"share of {steps.num_blocks(table):,} blocks, {note}"),
        Figure("Batch and queue in the server", batch.render(), note, legend),
    ]


def _draw(chart: Chart, one: TimeSeries, every_s: float, hue: str, dashes: str = "") -> None:
    chart.line((one.times_s - every_s / 2).tolist(), one.values.tolist(), hue, dashes)
