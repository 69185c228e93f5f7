"""The newest steps in a ring allocated once, and step-time histograms since the start. Knows no clock."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, fields
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from serving.link.step import StepKind

_PERCENTILES = (50, 90, 99, 100)
_SUMMARISED = 4096  # newest steps behind the percentiles: more would hold up the event loop that asks for them
# Upper bounds in seconds, for Prometheus.
BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


@dataclass(slots=True, kw_only=True)
class StepTimes:
    """One step; its fields are the columns of /stats/steps. The parts of a pipelined step overlap its neighbours'.

    ended_ns: when its reply was read, on CLOCK_MONOTONIC. num_tokens: fed in this step. context_tokens: in the cache
    once it has run, of all its sequences together. num_waiting, kv_blocks_used: requests in the queue and blocks held
    once its tokens are taken and the next step is planned.
    step_ns: from planned (or the reply to the step before, if later) until its reply is read. Its parts: plan_ns:
    choosing sequences and writing arrays. link_out_ns: until the agent has read it, without the wait for the step
    before. agent_pre_ns: building the batch. forward_ns, sample_ns: as they say. link_back_ns: reply sent until read
    here. publish_ns: handing events to their readers. device_gap_ns: device idle between the step before and this
    one, 0 if the engine had nothing to do meanwhile.
    """

    kind: StepKind
    ended_ns: int
    num_seqs: int
    num_tokens: int
    context_tokens: int
    num_waiting: int
    kv_blocks_used: int
    step_ns: int
    plan_ns: int
    link_out_ns: int
    agent_pre_ns: int
    forward_ns: int
    sample_ns: int
    link_back_ns: int
    publish_ns: int
    device_gap_ns: int


_COLUMNS = [field.name for field in fields(StepTimes)]
_FIRST_TIME = _COLUMNS.index("step_ns")  # this column and all after it are durations
_row = attrgetter(*_COLUMNS)


class StepRing:
    """The newest `capacity` steps, and histograms of them all."""

    def __init__(self, capacity: int) -> None:
        self._values = np.zeros((capacity, len(_COLUMNS)), np.int64)
        self.count = 0
        self._histograms = {kind: [0] * (len(BUCKETS_S) + 1) for kind in StepKind}
        self._sums_ns = dict.fromkeys(StepKind, 0)

    def add(self, times: StepTimes) -> None:
        """Record one step."""
        self._values[self.count % len(self._values)] = _row(times)
        self.count += 1
        self._histograms[times.kind][bisect_left(BUCKETS_S, times.step_ns / 1e9)] += 1
        self._sums_ns[times.kind] += times.step_ns

    def summary(self) -> dict[str, dict[str, object]]:
        """Per kind of the newest steps: count, mean sequences and tokens, and percentiles of each part in us."""
        values = self._newest(_SUMMARISED)
        result: dict[str, dict[str, object]] = {}
        for kind in StepKind:
            of_kind = values[values[:, 0] == kind]
            if not len(of_kind):
                continue
            percentiles = np.percentile(of_kind[:, _FIRST_TIME:], _PERCENTILES, axis=0) / 1e3
            result[kind.name] = {
                "count": len(of_kind),
                "mean_num_seqs": float(of_kind[:, _COLUMNS.index("num_seqs")].mean()),
                "mean_num_tokens": float(of_kind[:, _COLUMNS.index("num_tokens")].mean()),
                **{
                    name.replace("_ns", "_us"): {
                        f"p{p}": round(float(percentiles[i, j]), 1) for i, p in enumerate(_PERCENTILES)
                    }
                    for j, name in enumerate(_COLUMNS[_FIRST_TIME:])
                },
            }
        return result

    def rows(self) -> dict[str, object]:
        """Every step in the ring, oldest first, as columns named as the fields of StepTimes, and `first`.

        first: how many older steps are no longer here. kind: StepKind's name. Columns are lists of one length.
        """
        values = self._newest(len(self._values))
        first = self.count - len(values)
        columns: dict[str, object] = {name: values[:, j].tolist() for j, name in enumerate(_COLUMNS)}
        return {"first": first, **columns, "kind": [StepKind(kind).name for kind in values[:, 0].tolist()]}

    def _newest(self, limit: int) -> NDArray[np.int64]:
        """At most `limit` steps [num_steps, columns], oldest first."""
        count = min(limit, self.count, len(self._values))
        rows: NDArray[np.int64] = self._values[np.arange(self.count - count, self.count) % len(self._values)]
        return rows

    def histogram(self) -> dict[str, dict[str, object]]:
        """Per kind of step since the start: cumulative counts per upper bound (the last is +Inf), and the sum in s."""
        return {
            kind.name: {
                "upper_bounds_s": list(BUCKETS_S),
                "cumulative_counts": np.cumsum(counts).tolist(),
                "sum_s": self._sums_ns[kind] / 1e9,
            }
            for kind, counts in self._histograms.items()
        }
