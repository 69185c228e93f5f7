"""allclose over rows in few passes over memory. It knows arrays only, no files or requests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]

BLOCK_ELEMENTS = 65_536  # float32 elements at a time: their difference and both inputs stay about in a core's L2 cache


@dataclass(slots=True)
class Closeness:
    """How close two arrays of rows are; every array is [rows]."""

    allclose: Bool  # exactly numpy.allclose(new, base, rtol, atol) of the row
    has_nan: Bool  # a NaN in either; never close
    max_abs: Float32  # largest |new - base|; inf where one is infinite and the other is not; NaNs left out
    sum_abs: Float32  # of |new - base|, with the same exceptions


def scratch_for(num_columns: int) -> Float32:
    """Working memory for `measure` on rows of that length; kept between calls, since touching new memory costs."""
    return np.empty((max(1, BLOCK_ELEMENTS // max(1, num_columns)), num_columns), np.float32)


def measure(new: Float32, base: Float32, atol: float, rtol: float, scratch: Float32) -> Closeness:
    """Compare rows [rows, columns] one by one; `scratch` is overwritten.

    An element is close if |new - base| <= atol + rtol * |base|, in float32 as NumPy computes it
    (https://numpy.org/doc/stable/reference/generated/numpy.allclose.html). Since rtol * |base| >= 0, a row whose
    largest difference is at most atol is close without looking at base again: four passes instead of eight, and none
    over new memory. The other rows are looked at one at a time.
    """
    max_abs, sum_abs = np.zeros(len(new), np.float32), np.zeros(len(new), np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        for start in range(0, len(new) if new.size else 0, len(scratch)):
            block = slice(start, start + len(scratch))
            difference = scratch[: len(new) - start]
            np.subtract(new[block], base[block], out=difference)
            np.abs(difference, out=difference)
            np.maximum.reduce(difference, axis=1, out=max_abs[block])
            np.add.reduce(difference, axis=1, out=sum_abs[block])
        result = Closeness(max_abs <= np.float32(atol), np.zeros(len(new), np.bool_), max_abs, sum_abs)
        for row in np.flatnonzero(~result.allclose):
            _look_closer(result, row, new[row], base[row], np.abs(base[row]) * np.float32(rtol) + np.float32(atol))
    return result


def _look_closer(result: Closeness, row: int, new: Float32, base: Float32, limit: Float32) -> None:
    """Judge a row with a difference above atol, with an infinity or with a NaN in it."""
    difference = np.abs(new - base)
    odd = np.isnan(difference)  # a NaN outside, or two infinities of one sign, which are close
    if odd.any():
        result.has_nan[row] = np.isnan(new).any() or np.isnan(base).any()
        difference[odd] = 0
        result.max_abs[row], result.sum_abs[row] = difference.max(), difference.sum()
    within = difference <= limit
    if not np.isfinite(limit).all():
        within = np.where(np.isfinite(base), within, new == base)  # an infinity is close to its equal only
    result.allclose[row] = not result.has_nan[row] and within.all()
