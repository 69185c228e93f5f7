"""Percentiles, and how many samples one needs before it can be believed. Pure arithmetic."""

from __future__ import annotations

import functools
import math

REPORTED = (50, 90, 99)
CONFIDENCE = 0.99


@functools.cache
def min_samples(percentile: float) -> int:
    """Fewest independent samples that support a percentile: 11 for p50, 64 for p90, 130 for p95, 662 for p99.

    MLPerf Inference's early-stopping rule (mlcommons/inference, loadgen/early_stopping.cc, single-stream estimate): the
    smallest n for which at most one sample beyond the percentile would have probability <= 1 - CONFIDENCE, that is
    p^n + n (1 - p) p^(n-1) <= 0.01. With fewer samples the tail has hardly been seen, whatever number is printed.
    """
    if not 0 < percentile < 100:
        raise ValueError(f"percentile {percentile} must lie between 0 and 100")
    p = percentile / 100
    n = 2
    while math.exp(n * math.log(p)) + n * (1 - p) * math.exp((n - 1) * math.log(p)) > 1 - CONFIDENCE:
        n += 1
    return n


def supports(num_samples: int, percentile: float) -> bool:
    """Whether that many samples support the percentile."""
    return num_samples >= min_samples(percentile)
