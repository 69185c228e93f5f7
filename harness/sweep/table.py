"""A sweep's variants as rows of knobs and figures: the best, the Pareto set, the effect of each knob. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.pareto import Estimate, pareto_set
from harness.sweep import plan

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
    best_at: list[str] = field(default_factory=list)  # goals where no other row is better beyond the noise

    @property
    def name(self) -> str:
        """The row by its knobs: decode=4 block_size=16."""
        overrides = [f"{knob}={value}" for knob, value in self.knobs.items()]
        return plan.variant_name(overrides, list(self.knobs)) or f"variant {self.number}"

    def figure(self, name: str) -> float:
        """A metric, NaN if unknown."""
        value = self.metrics.get(name)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan

    def estimate(self, name: str) -> Estimate:
        """A metric with its 95 % interval."""
        return Estimate(self.figure(name), self.figure(f"{name}_ci95_low"), self.figure(f"{name}_ci95_high"))


@dataclass(frozen=True)
class Effect:
    """Of one knob on one figure: by each value of the knob, in order, the figures of the passed rows that have it."""

    knob: str
    metric: str
    groups: dict[str, list[float]]

    @property
    def means(self) -> dict[str, float]:
        """The mean figure for each value."""
        return {value: statistics.fmean(group) for value, group in self.groups.items()}

    @property
    def ratio(self) -> float:
        """Largest mean / smallest mean; 1 = no effect."""
        known = [mean for mean in self.means.values() if mean > 0]
        return max(known) / min(known) if known else math.nan


def mark(rows: Sequence[SweepRow]) -> None:
    """Set `best_at` and `pareto`; only rows that passed can have them."""
    passed = [row for row in rows if row.passed]
    for name, more in GOALS.items():
        known = [row for row in passed if math.isfinite(row.figure(name))]
        if known:
            best = (max if more else min)(known, key=lambda row: row.figure(name)).estimate(name)
            for row in known:
                if row.estimate(name).ties(best):
                    row.best_at.append(name)
    in_set = pareto_set([(row.estimate(THROUGHPUT), row.estimate(LATENCY)) for row in passed])
    for row, is_in in zip(passed, in_set, strict=True):
        row.pareto = is_in


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
                found.append(Effect(knob, metric, {value: groups[value] for value in sorted(groups, key=_natural)}))
    return found


def _natural(value: str) -> tuple[int, float, str]:
    """Sorting key: numbers by size, before words."""
    try:
        return (0, float(value), "")
    except ValueError:
        return (1, 0.0, value)
