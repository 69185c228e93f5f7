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
TOLERANCE = 0.01  # figures whose ratio is nearer to 1 are called equal: two runs of one configuration differ by more


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
    best_at: list[str] = field(default_factory=list)  # goals where no other row is better beyond the noise

    def figure(self, name: str) -> float:
        """A metric, NaN if unknown."""
        value = self.metrics.get(name)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan

    def interval(self, name: str) -> tuple[float, float]:
        """The metric's 95 % interval, NaN if unknown."""
        return self.figure(f"{name}_ci95_low"), self.figure(f"{name}_ci95_high")


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
            best = (max if more else min)(known, key=lambda row: row.figure(name))
            for row in known:
                if alike(row, best, name):
                    row.best_at.append(name)
    both = [row for row in passed if math.isfinite(row.figure(LATENCY)) and math.isfinite(row.figure(THROUGHPUT))]
    for row in both:
        row.pareto = not any(_dominates(other, row) for other in both)


def close(a: SweepRow, b: SweepRow, name: str) -> bool:
    """Whether a figure of two rows differs by TOLERANCE at most."""
    one, other = a.figure(name), b.figure(name)
    return abs(one - other) <= TOLERANCE * min(abs(one), abs(other))


def alike(a: SweepRow, b: SweepRow, name: str) -> bool:
    """Whether a figure of two rows differs by no more than noise: it is close, or its 95 % intervals overlap."""
    (low, high), (other_low, other_high) = a.interval(name), b.interval(name)
    return close(a, b, name) or (low <= other_high and other_low <= high)  # False where an interval is unknown


def _dominates(a: SweepRow, b: SweepRow) -> bool:
    """Whether a is better in one of both figures and no worse in the other, beyond the noise.

    Being alike isn't transitive, so a must also gain more than it loses, as ratios: then no rows dominate in a circle.
    """
    same_latency, same_throughput = alike(a, b, LATENCY), alike(a, b, THROUGHPUT)
    return (
        (same_latency or a.figure(LATENCY) < b.figure(LATENCY))
        and (same_throughput or a.figure(THROUGHPUT) > b.figure(THROUGHPUT))
        and not (same_latency and same_throughput)
        and a.figure(THROUGHPUT) * b.figure(LATENCY) > b.figure(THROUGHPUT) * a.figure(LATENCY)
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
