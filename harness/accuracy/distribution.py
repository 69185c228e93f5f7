"""What a difference of logits does to the next-token distribution: KL divergence and the top tokens. Arrays only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

NUM_GROUPS = 64  # group maxima give a threshold that only a few candidates for the top tokens pass
# Coefficients of (exp(-d) - 1 + d) / d^2, and up to which |d| the first one left out is below 1e-7 of the first.
SERIES = (1 / 2, -1 / 6, 1 / 24, -1 / 120, 1 / 720)
SERIES_LIMIT = 0.1
SHORT_SERIES = SERIES[:2]
SHORT_SERIES_LIMIT = 1e-3


def kl_divergence(base: Float32, new: Float32) -> float:
    """KL(softmax(base) || softmax(new)) of two logits rows [vocab], in nats.

    With d = base - new, centred so that E[d] = 0 under softmax(base), KL = log(1 + E[exp(-d) - 1 + d]),
    and for small d the series of exp(-d) - 1 + d = d^2/2 - d^3/6 + … keeps the digits that a difference of two sums
    near 1 would lose. Otherwise the definition, in float64. Returns inf if the new row rules out a token that the base
    row allows, NaN if a row holds NaN or +inf.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        delta = np.subtract(base, new)
        weights = np.subtract(base, base.max())
        np.exp(weights, out=weights)
        total = _sum(weights)
        series = np.multiply(weights, delta)
        delta -= np.float32(_sum(series) / total)
        largest = max(float(delta.max()), -float(delta.min()))
        if not largest < SERIES_LIMIT:
            return _definition(base.astype(np.float64), new.astype(np.float64))
    coefficients = SHORT_SERIES if largest < SHORT_SERIES_LIMIT else SERIES
    np.multiply(delta, np.float32(coefficients[-1]), out=series)
    for coefficient in coefficients[-2:0:-1]:
        series += np.float32(coefficient)
        series *= delta
    series += np.float32(coefficients[0])
    weights *= delta
    mean = _sum(weights) / total  # what rounding left of it
    weights *= delta
    weights *= series
    return max(0.0, float(np.log1p(_sum(weights) / total) - 0.5 * mean**2))


def _definition(base: NDArray[np.float64], new: NDArray[np.float64]) -> float:
    log_base, log_new = (row - row.max() for row in (base, new))
    with np.errstate(invalid="ignore", over="ignore"):
        log_base -= np.log(np.exp(log_base).sum())
        log_new -= np.log(np.exp(log_new).sum())
        weights = np.exp(log_base)
        allowed = ~(weights == 0)
        return float((weights[allowed] * (log_base[allowed] - log_new[allowed])).sum())


def top_tokens(row: Float32, count: int) -> list[int]:
    """Ids of the `count` largest logits of a row [vocab], largest first; of equal ones the lowest id comes first."""
    return _sorted(row, (row >= _threshold(row, count)).nonzero()[0], count)


def top_tokens_of_two(new: Float32, base: Float32, count: int, max_abs: float) -> tuple[list[int], list[int]]:
    """top_tokens of both rows, which nowhere differ by more than `max_abs`.

    What is among the largest of the new row is then at most twice that below those of the base: one search serves both.
    """
    threshold = _threshold(base, count) - np.float32(2.001 * max_abs)
    if not np.isfinite(threshold):
        return top_tokens(new, count), top_tokens(base, count)
    candidates = (base >= threshold).nonzero()[0]
    return _sorted(new, candidates, count), _sorted(base, candidates, count)


def _threshold(row: Float32, count: int) -> np.float32:
    """A number that no top token lies below: at least `count` values reach the count-th largest group maximum."""
    width = len(row) // NUM_GROUPS
    if width < count:
        return np.float32(-np.inf)
    maxima: Float32 = np.maximum.reduce(row[: width * NUM_GROUPS].reshape(NUM_GROUPS, width), axis=0)
    maxima.partition(width - count)
    return np.float32(maxima[width - count])


def _sorted(row: Float32, candidates: NDArray[np.intp], count: int) -> list[int]:
    tokens: list[int] = candidates[np.argsort(-row[candidates], kind="stable")[:count]].tolist()
    return tokens


def _sum(values: Float32) -> float:
    return float(np.add.reduce(values))
