"""Distance between floats in units in the last place of the served dtype. It knows arrays only."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


class ServedDtype(StrEnum):
    """The dtype that the model computed in; captured rows are float32 whatever it was."""

    float32 = "float32"
    float16 = "float16"
    bfloat16 = "bfloat16"


def ulp_distance(new: Float32, base: Float32, dtype: ServedDtype) -> NDArray[np.uint32]:
    """How many representable values of `dtype` lie between two arrays, after rounding both to it; +0 and -0 are one.

    Values near zero are dense, so a pair of opposite tiny values is far apart in this measure though its difference is
    small: read it with the absolute difference. NaN counts as the value beyond infinity.
    """
    left, right = _ordered(new, dtype), _ordered(base, dtype)
    higher = np.maximum(left, right)
    np.minimum(left, right, out=right)
    distance: NDArray[np.uint32] = higher.view(np.uint32)
    distance -= right.view(np.uint32)  # modulo 2^32, so that opposite signs don't overflow
    return distance


def max_ulp(new: Float32, base: Float32, dtype: ServedDtype) -> int:
    """The largest `ulp_distance`; quicker for float32, where all but a few pairs have the same sign."""
    if dtype is not ServedDtype.float32 or not new.size:
        return int(ulp_distance(new, base, dtype).max(initial=0))
    left, right = new.view(np.int32), base.view(np.int32)
    difference = np.bitwise_xor(left, right)
    opposite = np.flatnonzero(difference < 0)
    np.subtract(left, right, out=difference)  # of one sign, the bits ascend or descend as the numbers do
    np.abs(difference, out=difference)
    if not len(opposite):
        return int(np.maximum.reduce(difference))
    difference[opposite] = 0
    beyond = ulp_distance(new[opposite], base[opposite], dtype)
    return max(int(np.maximum.reduce(difference)), int(beyond.max()))


def _ordered(values: Float32, dtype: ServedDtype) -> NDArray[np.int32]:
    """Map floats to integers in the same order, neighbours to neighbours, both zeros to 0.

    The bits of positive floats ascend as integers do; for negative ones the magnitude bits count down from zero
    (Bruce Dawson, "Comparing Floating Point Numbers", 2012).
    """
    if dtype is ServedDtype.float16:
        with np.errstate(over="ignore"):
            bits = values.astype(np.float16).view(np.int16).astype(np.int32)
        magnitude = 0x7FFF
    elif dtype is ServedDtype.bfloat16:  # round to nearest, ties to even, then drop the low half
        whole = values.view(np.uint32)
        bits = ((whole + 0x7FFF + ((whole >> 16) & 1)) >> 16).astype(np.uint16).view(np.int16).astype(np.int32)
        magnitude = 0x7FFF
    else:
        bits = values.view(np.int32).copy()
        magnitude = 0x7FFFFFFF
    sign = bits >> 31  # 0, or -1 for a negative float
    bits ^= sign & magnitude
    bits -= sign
    return bits
