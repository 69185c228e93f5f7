"""The newest steps in a ring allocated once, and step-time histograms since the start. Knows no clock."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.link.step import StepKind

PARTS = ("plan", "link_out", "agent_pre", "forward", "sample", "link_back", "publish", "device_gap")
_SIZES = ("kind", "ended_ns", "num_seqs", "num_tokens", "context_tokens", "num_waiting", "kv_blocks_used")
_TIMES = ("step", *PARTS)
_PERCENTILES = (50, 90, 99, 100)
_SUMMARISED = 4096  # newest steps behind the percentiles: more would hold up the event loop that asks for them
# Upper bounds in seconds, for Prometheus.
BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


@dataclass(slots=True)
class StepTimes:
    """One step, in ns. The parts of a pipelined step overlap with those of its neighbours.

    ended: when its reply was read, on CLOCK_MONOTONIC. num_tokens: fed in this step. context_tokens: in the cache once
    it has run, of all its sequences together. num_waiting, kv_blocks_used: requests in the queue and blocks held once
    its tokens are taken and the next step is planned.
    plan: choosing sequences and writing arrays. link_out: until the agent has read it, without the wait for the step
    before. agent_pre: building the batch. forward, sample: as they say. link_back: reply sent until read here.
    publish: handing events to their readers. device_gap: device idle between the step before and this one, 0 if the
    engine had nothing to do meanwhile. step: from planned (or the reply to the step before, if later) until its reply
    is read.
    """

    kind: StepKind
    ended: int
    num_seqs: int
    num_tokens: int
    context_tokens: int
    num_waiting: int
    kv_blocks_used: int
    step: int
    plan: int
    link_out: int
    agent_pre: int
    forward: int
    sample: int
    link_back: int
    publish: int
    device_gap: int


class StepRing:
    """The newest `capacity` steps, and histograms of them all."""

    def __init__(self, capacity: int) -> None:
        self._values = np.zeros((capacity, len(_SIZES) + len(_TIMES)), np.int64)
        self.count = 0
        self._histograms = {kind: [0] * (len(BUCKETS_S) + 1) for kind in StepKind}
        self._sums_ns = dict.fromkeys(StepKind, 0)

    def add(self, times: StepTimes) -> None:
        """Record one step."""
        self._values[self.count % len(self._values)] = (
            times.kind,
            times.ended,
            times.num_seqs,
            times.num_tokens,
            times.context_tokens,
            times.num_waiting,
            times.kv_blocks_used,
            times.step,
            times.plan,
            times.link_out,
            times.agent_pre,
            times.forward,
            times.sample,
            times.link_back,
            times.publish,
            times.device_gap,
        )
        self.count += 1
        self._histograms[times.kind][bisect_left(BUCKETS_S, times.step / 1e9)] += 1
        self._sums_ns[times.kind] += times.step

    def summary(self) -> dict[str, dict[str, object]]:
        """Per kind of the newest steps: count, mean sequences and tokens, and percentiles of each part in us."""
        values = self._newest(_SUMMARISED)
        result: dict[str, dict[str, object]] = {}
        for kind in StepKind:
            of_kind = values[values[:, 0] == kind]
            if not len(of_kind):
                continue
            percentiles = np.percentile(of_kind[:, len(_SIZES) :], _PERCENTILES, axis=0) / 1e3
            result[kind.name] = {
                "count": len(of_kind),
                "mean_num_seqs": float(of_kind[:, _SIZES.index("num_seqs")].mean()),
                "mean_num_tokens": float(of_kind[:, _SIZES.index("num_tokens")].mean()),
                **{
                    f"{part}_us": {f"p{p}": round(float(percentiles[i, j]), 1) for i, p in enumerate(_PERCENTILES)}
                    for j, part in enumerate(_TIMES)
                },
            }
        return result

    def rows(self) -> dict[str, object]:
        """Every step in the ring, oldest first, as columns: {"first", "kind", "ended_ns", …, "step_ns", "plan_ns", …}.

        first: how many older steps are no longer here. kind: StepKind's name. Columns are lists of one length.
        """
        values = self._newest(len(self._values))
        first = self.count - len(values)
        names = (*_SIZES, *(f"{part}_ns" for part in _TIMES))
        columns: dict[str, object] = {name: values[:, j].tolist() for j, name in enumerate(names)}
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
