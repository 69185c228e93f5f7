"""What the server held over time, from its own steps: KV use, queue, batch. Pure: a table of steps in, series out.

Queue and KV use are gauges: what a step left behind holds until the next step of the same agent ends, so they are
weighted by time. The batch is a property of decode steps, weighted by how long each took.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Values = NDArray[np.float64]
_NEEDED = {"agent", "kind", "ended_s", "step_ns", "num_seqs", "num_waiting", "kv_blocks_used", "kv_blocks_total"}


@dataclass(frozen=True)
class StepSeries:
    """Per interval of `interval_s`; `end_s` (s since the window's start) and all values have shape [num_intervals].

    kv_use: blocks in use / all blocks, 0 to 1. requests_queued: waiting in the server for a place in the batch.
    decode_batch_size: sequences per decode step; NaN where no decode step ended. num_blocks: of all agents together.
    """

    end_s: Values
    interval_s: float
    kv_use: Values
    requests_queued: Values
    decode_batch_size: Values
    num_blocks: int

    @property
    def values(self) -> dict[str, Values]:
        """The quantities by name."""
        names = ("kv_use", "requests_queued", "decode_batch_size")
        return {name: getattr(self, name) for name in names}


def has_times(table: pa.Table) -> bool:
    """Whether the steps say when they ended and what they left behind; those of older servers don't."""
    return set(table.column_names) >= _NEEDED


def series(table: pa.Table, every_s: float, last_s: float) -> StepSeries | None:
    """Series from the window's start to `last_s`; None if the table has no times or no steps."""
    count = int(np.ceil(last_s / every_s))
    if not has_times(table) or not len(table) or count < 1:
        return None
    edges = np.arange(count + 1) * every_s
    columns = {name: table[name].to_numpy() for name in _NEEDED - {"kind"}}
    of_agents = [columns["agent"] == agent for agent in np.unique(columns["agent"])]
    num_blocks = sum(int(columns["kv_blocks_total"][mine][-1]) for mine in of_agents)

    def gauge(name: str) -> Values:
        held = (_mean_held(columns["ended_s"][mine], columns[name][mine], edges) for mine in of_agents)
        return np.asarray(np.sum(list(held), axis=0))

    decode = np.asarray(table["kind"].to_pylist()) == "decode"
    weights = columns["step_ns"] * decode
    time = np.histogram(columns["ended_s"], edges, weights=weights)[0]
    weighted = np.histogram(columns["ended_s"], edges, weights=weights * columns["num_seqs"])[0]
    batch = np.divide(weighted, time, out=np.full(count, np.nan), where=time > 0)
    kv_use = gauge("kv_blocks_used") / num_blocks
    return StepSeries(edges[1:], every_s, kv_use, gauge("num_waiting"), batch, num_blocks)


def figures(table: pa.Table) -> dict[str, float]:
    """Of the whole window: the largest share of KV blocks in use at the end of a step, and the largest queue.

    With several agents the fullest one's. {} if the table does not say.
    """
    if not has_times(table) or not len(table):
        return {}
    use = table["kv_blocks_used"].to_numpy() / table["kv_blocks_total"].to_numpy()
    return {"kv_use_max": float(use.max()), "queue_max": float(table["num_waiting"].to_numpy().max())}


def _mean_held(times: Values, values: Values, edges: Values) -> Values:
    """Time-weighted mean per interval of a quantity that is values[i] from times[i] until times[i + 1]; 0 before."""
    order = np.argsort(times, kind="stable")
    times, values = times[order], values[order].astype(np.float64)
    areas = np.concatenate([[0.0], np.cumsum(values[:-1] * np.diff(times))])
    last = np.searchsorted(times, edges, side="right") - 1
    known = np.maximum(last, 0)
    until = np.where(last < 0, 0.0, areas[known] + values[known] * (edges - times[known]))
    return np.asarray(np.diff(until) / np.diff(edges))
