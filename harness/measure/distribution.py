"""A distribution in a few figures: mean, largest, percentiles, and how far the percentiles can be believed. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from harness.measure import bootstrap
from harness.measure.percentiles import REPORTED, supports
from harness.measure.samples import Groups


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """Of `num_samples` values, in their unit; without any there are no figures (None).

    percentiles: those of REPORTED. intervals: their 95 % confidence intervals, where they were worked out.
    """

    num_samples: int = 0
    mean: float | None = None
    max: float | None = None
    percentiles: dict[int, float] = field(default_factory=dict)
    intervals: dict[int, tuple[float, float]] = field(default_factory=dict)

    def p(self, percentile: int) -> float | None:
        """A percentile; None without samples."""
        return self.percentiles.get(percentile)

    @property
    def unsupported(self) -> list[int]:
        """The percentiles with too few samples behind them."""
        return [p for p in self.percentiles if not supports(self.num_samples, p)]


def distribution(groups: Groups, confidence: bool = False) -> Distribution:
    """Of all values of all groups; with intervals, groups are resampled whole."""
    values = np.concatenate([np.empty(0), *groups])
    if not len(values):
        return Distribution()
    intervals = bootstrap.percentile_intervals(groups, REPORTED) if confidence else None
    return Distribution(
        num_samples=len(values),
        mean=float(values.mean()),
        max=float(values.max()),
        percentiles=dict(zip(REPORTED, np.percentile(values, REPORTED).tolist(), strict=True)),
        intervals=dict(zip(REPORTED, intervals, strict=True)) if intervals else {},
    )
