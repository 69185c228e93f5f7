"""A sweep's variants as rows of knobs and figures: the best, the Pareto set, the effect of each knob. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

LATENCY, THROUGHPUT = "e2el_ms_p50", "output_tokens_per_s"  # of the Pareto set
# Figures people choose by: name -> whether more is better.
GOALS = {
    "output_tokens_per_s": True,
    "requests_per_s": True,
    "ttft_ms_p50": False,
    "ttft_ms_p99": False,
    "tpot_ms_p50": False,
    "tpot_ms_p99": False,
    "e2el_ms_p50": False,
    "total_time_s": False,
}
RATE = "workload.arrivals.rate"


@dataclass
class SweepRow:
    """One timed point of one variant. A variant without any has one row without figures."""

    number: int  # of the variant
    knobs: dict[str, str]  # the values that vary
    metrics: dict[str, object]
    passed: bool
    reason: str = ""  # why it does not count
    accuracy: str = ""
    folder: str = ""  # relative to the sweep's
    pareto: bool = False
    best_at: list[str] = field(default_factory=list)  # goals

    def figure(self, name: str) -> float:
        """A metric, NaN if unknown."""
        value = self.metrics.get(name)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


@dataclass(frozen=True)
class Effect:
    """Of one knob on one figure: its values in order, and the mean figure of the passed rows that have each."""

    knob: str
    metric: str
    values: list[str]
    means: list[float]

    @property
    def ratio(self) -> float:
        """Largest mean / smallest mean; 1 = no effect."""
        known = [mean for mean in self.means if mean > 0]
        return max(known) / min(known) if known else math.nan


def mark(rows: Sequence[SweepRow]) -> None:
    """Set `best_at` and `pareto`; only rows that passed can have them."""
    passed = [row for row in rows if row.passed]
    for name, more in GOALS.items():
        known = [row for row in passed if math.isfinite(row.figure(name))]
        if known:
            best = (max if more else min)(row.figure(name) for row in known)
            for row in known:
                if row.figure(name) == best:
                    row.best_at.append(name)
    both = [row for row in passed if math.isfinite(row.figure(LATENCY)) and math.isfinite(row.figure(THROUGHPUT))]
    for row in both:
        row.pareto = not any(_dominates(other, row) for other in both)


def _dominates(a: SweepRow, b: SweepRow) -> bool:
    """Whether a is at least as good as b in both figures and better in one."""
    latency, throughput = (a.figure(LATENCY), b.figure(LATENCY)), (a.figure(THROUGHPUT), b.figure(THROUGHPUT))
    return (
        latency[0] <= latency[1]
        and throughput[0] >= throughput[1]
        and (latency[0], throughput[0])
        != (
            latency[1],
            throughput[1],
        )
    )


def effects(rows: Sequence[SweepRow], knobs: Sequence[str], metrics: Sequence[str]) -> list[Effect]:
    """Of each knob on each metric, over passed rows. In a full grid the other knobs average out."""
    found = []
    for knob in knobs:
        for metric in metrics:
            groups: dict[str, list[float]] = {}
            for row in rows:
                if row.passed and knob in row.knobs and math.isfinite(row.figure(metric)):
                    groups.setdefault(row.knobs[knob], []).append(row.figure(metric))
            if len(groups) > 1:
                values = sorted(groups, key=natural)
                found.append(Effect(knob, metric, values, [statistics.fmean(groups[value]) for value in values]))
    return found


def natural(value: str) -> tuple[int, float, str]:
    """Sorting key: numbers by size, before words."""
    try:
        return (0, float(value), "")
    except ValueError:
        return (1, 0.0, value)
