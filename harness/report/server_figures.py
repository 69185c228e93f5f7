"""Charts of what the server did along the window of one point: KV cache, queue and batch, and where a step's time goes.

Nothing is drawn where the server's steps are missing, cannot be read, or do not say it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from harness.charts import PHASES, Axis, Figure, Line, Span, axis, colour, lines, number, spans
from harness.measure import timeline, window_series
from harness.measure.step_figures import percentiles_ms
from harness.observe import steps
from harness.report.view import PointView
from harness.run_folder import STEPS


def over_time(point: PointView) -> list[Figure]:
    """KV use, queue and batch over time."""
    table = steps.read(point.folder / STEPS) if point.folder else None
    every_s = window_series.drawn_interval_s(point.records)
    series = {one.name: one for one in window_series.of_steps(table, every_s, timeline.last_s(point.records))}
    if table is None or not series:
        return []

    def line(name: str, hue: str = "") -> Line:
        return Line(series[name].times_s - every_s / 2, series[name].values, hue)

    x = axis("time since the start, s", [0.0, float(series["kv_use"].times_s[-1])])
    every = f"per {number(every_s)} s, as the server's steps tell"
    batch = {
        "waiting in the server": line("requests_queued", PHASES["queue"]),
        "sequences per decode step": line("decode_batch_size", PHASES["decode"]),
    }
    y = axis("sequences", [value for one in batch.values() for value in one.ys])
    share = Axis("share of blocks", 0.0, 1.0)
    note = f"share of {steps.num_blocks(table):,} blocks, mean {every}"
    return [
        lines("KV use over time", x, share, {"KV use": line("kv_use")}, note),
        lines("Batch and queue in the server", x, y, batch, f"mean {every}"),
    ]


def step_parts(folder: Path | None) -> list[Figure]:
    """Medians of a step's parts in ms, by kind of step: as bars one after the other."""
    table = steps.read(folder / STEPS) if folder else None
    medians = {} if table is None else _medians_ms(table)
    if not medians:
        return []
    content = [_end_to_end(kind, parts) for kind, parts in medians.items()]
    x = axis("median, ms", [0.0, *(row[-1].end for row in content)])
    names = dict.fromkeys(part for parts in medians.values() for part in parts)
    legend = [(part.replace("_", " "), colour(order)) for order, part in enumerate(names)]
    note = "medians of each part; parts of pipelined steps overlap, so their sum may exceed the step"
    return [spans("Parts of a step", x, content, legend, note, names=list(medians), height=120)]


def _end_to_end(kind: str, parts: Mapping[str, float]) -> list[Span]:
    ends = np.cumsum(list(parts.values())).tolist()
    return [
        Span(end - width_ms, end, colour(order), f"{kind}, {part.replace('_', ' ')}: {number(width_ms)} ms")
        for order, ((part, width_ms), end) in enumerate(zip(parts.items(), ends, strict=True))
    ]


def _medians_ms(table: pa.Table) -> dict[str, dict[str, float]]:
    """Of each part, by kind of step."""
    of_kinds = {kind: percentiles_ms(steps.of_kind(table, kind), (50,)) for kind in steps.KINDS}
    whole = (steps.STEP, steps.DEVICE_GAP)
    return {
        kind: {part: median for part, (median,) in parts.items() if part not in whole}
        for kind, parts in of_kinds.items()
        if parts
    }
