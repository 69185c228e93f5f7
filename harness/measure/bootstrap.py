"""Confidence intervals by resampling (Efron's percentile bootstrap). Pure: a seed gives the same interval each time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Statistic = Callable[[NDArray[np.float64]], float | NDArray[np.float64]]
LEVEL = 0.95
_NUM_CHANGE_RESAMPLES = 200
_MIN_SAMPLES = 2
_MANY_VALUES = 50_000


def percentile_intervals(
    groups: Sequence[NDArray[np.float64]], percentiles: Sequence[float], *, seed: int = 0
) -> list[tuple[float, float]] | None:
    """(low, high) at LEVEL of each percentile over all values of all groups; None with fewer than two groups.

    A group is what was sampled independently: one request. Its values (one latency, or all its token gaps, which
    resemble each other) are resampled together, so that many gaps of few requests do not pass for many samples.
    There are fewer resamples where there are many values.
    """
    filled = [group for group in groups if len(group)]
    if len(filled) < _MIN_SAMPLES:
        return None
    num_resamples = 400 if sum(map(len, filled)) < _MANY_VALUES else 100
    draws = resample(filled, lambda values: np.percentile(values, percentiles), seed, num_resamples)
    tail = 100 * (1 - LEVEL) / 2
    return [(float(low), float(high)) for low, high in np.percentile(draws, [tail, 100 - tail], axis=0).T]


def relative_change(
    old: Sequence[NDArray[np.float64]],
    new: Sequence[NDArray[np.float64]],
    statistic: Statistic,
    *,
    seed: int = 0,
    level: float = LEVEL,
) -> list[tuple[float, float, float]] | None:
    """(change, low, high) of statistic(new) / statistic(old) - 1 for each value `statistic` returns.

    Each side is resampled by itself; the interval is normal on the logarithm of the ratio, with the resamples' standard
    error (Efron and Tibshirani 1993, section 13.3), so that a high level needs no more resamples. None with fewer than
    two groups on a side, or where a resample is not above 0.
    """
    sides = [[group for group in groups if len(group)] for groups in (old, new)]
    if min(map(len, sides)) < _MIN_SAMPLES:
        return None
    logs, variances = [], []
    for side, groups in enumerate(sides):
        draws = np.atleast_2d(resample(groups, statistic, seed + side, _NUM_CHANGE_RESAMPLES).T)
        whole = np.atleast_1d(statistic(np.concatenate(groups)))
        if not (np.all(draws > 0) and np.all(whole > 0)):
            return None
        logs.append(np.log(whole))
        variances.append(np.log(draws).var(axis=1))
    change = logs[1] - logs[0]
    margin = NormalDist().inv_cdf(1 - (1 - level) / 2) * np.sqrt(variances[0] + variances[1])
    columns = [np.expm1(change), np.expm1(change - margin), np.expm1(change + margin)]
    return [(float(point), float(low), float(high)) for point, low, high in zip(*columns, strict=True)]


def resample(
    groups: Sequence[NDArray[np.float64]], statistic: Statistic, seed: int, num_resamples: int
) -> NDArray[np.float64]:
    """`statistic` of `num_resamples` samples of len(groups) groups drawn with replacement: [num_resamples, …]."""
    rng = np.random.default_rng(seed)
    values = np.concatenate(groups)
    sizes = np.asarray([len(group) for group in groups])
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    draws = []
    for _ in range(num_resamples):
        pick = rng.integers(0, len(groups), len(groups))
        if len(values) == len(groups):  # one value each, the usual case
            draws.append(statistic(values[pick]))
            continue
        picked = sizes[pick]
        first = np.concatenate([[0], np.cumsum(picked)[:-1]])
        within = np.arange(picked.sum()) - np.repeat(first, picked)
        draws.append(statistic(values[np.repeat(starts[pick], picked) + within]))
    return np.asarray(draws)
