"""Figures of a server's steps in one timed window, from the window's own steps and two readings of /stats. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from harness.measure.percentiles import REPORTED
from harness.observe import steps

_HEADLINE = (steps.STEP, steps.FORWARD, steps.DEVICE_GAP)  # the times whose percentiles are metrics

Stats = dict[str, Any]


def figures(before: Stats | None, after: Stats | None, table: pa.Table | None) -> dict[str, float]:
    """Flat figures of a window: its steps `table`, and the /stats pages from just before it and just after it.

    Per kind of step: how many there were, their mean time, and percentiles of their times, of several agents the
    slowest one's; then preemptions, the largest share of KV blocks in use at the end of a step (the fullest agent's)
    and the largest queue. Counts and means are differences of running totals, so that they hold even where the server
    no longer kept all steps of the window. Each is left out where the server does not tell it.
    """
    row: dict[str, float] = {}
    pages = [page["engine"].get("agents", []) if page else [] for page in (before, after)]
    agents = list(zip(*pages, strict=False))
    for kind in sorted({kind for _, agent in agents for kind in agent.get("step_time_histogram", {})}):
        differences = [_difference(old, new, kind) for old, new in agents]
        count, total_s = sum(count for count, _ in differences), sum(seconds for _, seconds in differences)
        if count:
            row |= {f"{kind}_steps": float(count), f"{kind}_step_ms_mean": total_s / count * 1e3}
            row |= _slowest_percentiles(steps.of_kind(table, kind), kind) if table is not None else {}
    if row:
        row["preemptions"] = float(sum(new.get("preemptions", 0) - old.get("preemptions", 0) for old, new in agents))
    if table is not None and steps.tell_times(table):
        use = table["kv_blocks_used"].to_numpy() / table["kv_blocks_total"].to_numpy()
        row |= {"kv_use_max": float(use.max()), "queue_max": float(table["num_waiting"].to_numpy().max())}
    return row


def percentiles_ms(of_kind: pa.Table, percentiles: Sequence[int]) -> dict[str, list[float]]:
    """Percentiles of each time that the steps tell, in the server's order: {"step": […], "plan": […], …}."""
    return {
        part: np.percentile(of_kind[f"{part}_ns"].to_numpy() / 1e6, percentiles).tolist()
        for part in steps.parts(of_kind)
        if len(of_kind)
    }


def _slowest_percentiles(of_kind: pa.Table, kind: str) -> dict[str, float]:
    agents = of_kind["agent"].to_numpy()
    slowest: dict[str, float] = {}
    for agent in np.unique(agents):
        times_ms = percentiles_ms(of_kind.filter(agents == agent), REPORTED)
        for part in _HEADLINE:
            for p, value_ms in zip(REPORTED, times_ms.get(part, []), strict=False):
                name = f"{kind}_{part}_ms_p{p}"
                slowest[name] = max(slowest.get(name, 0.0), value_ms)
    return slowest


def _difference(old: Stats, new: Stats, kind: str) -> tuple[int, float]:
    """(steps, their time in s) between two readings of one agent."""
    pages = [agent.get("step_time_histogram", {}).get(kind) for agent in (old, new)]
    counts = [page["cumulative_counts"][-1] if page else 0 for page in pages]
    sums = [page["sum_s"] if page else 0.0 for page in pages]
    return counts[1] - counts[0], sums[1] - sums[0]
