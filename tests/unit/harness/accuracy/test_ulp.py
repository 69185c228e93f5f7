import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from harness.accuracy.ulp import ServedDtype, max_ulp, ulp_distance

FLOATS = st.floats(-(2.0**120), 2.0**120, width=32)


def distance(new, base, dtype=ServedDtype.float32):
    return int(ulp_distance(np.array([new], np.float32), np.array([base], np.float32), dtype)[0])


@given(FLOATS, st.integers(0, 50))
def test_counts_steps_to_the_next_float(start, steps):
    value = np.float32(start)
    for _ in range(steps):
        value = np.nextafter(value, np.float32(np.inf))
    assert distance(value, start) == steps
    assert distance(start, value) == steps


@pytest.mark.parametrize(("dtype", "spacing_at_8"), [(ServedDtype.float16, 2.0**-7), (ServedDtype.bfloat16, 2.0**-4)])
def test_counts_in_the_served_dtype(dtype, spacing_at_8):
    assert distance(8 + spacing_at_8, 8, dtype) == 1
    assert distance(-8 - 3 * spacing_at_8, -8, dtype) == 3
    assert distance(8 + spacing_at_8 / 4, 8, dtype) == 0  # rounds to the same value


def test_zeros_are_one_and_signs_meet_there():
    for dtype in ServedDtype:
        assert distance(0.0, -0.0, dtype) == 0
    tiny = float(np.nextafter(np.float32(0), np.float32(1)))
    assert distance(tiny, -tiny) == 2


@given(st.floats(-(2.0**99), 2.0**99, width=32))
def test_bfloat16_rounds_to_nearest_even(value):
    """Against the definition: of the two neighbours with 8 significant bits the closer one, ties to the even one."""
    bits = int(np.float32(value).view(np.uint32))
    low = bits & 0xFFFF0000
    neighbours = [np.array(one, np.uint32).view(np.float32) for one in (low, low + 0x10000)]
    nearest = min(neighbours, key=lambda one: (abs(float(one) - value), int(one.view(np.uint32)) >> 16 & 1))
    assert distance(value, nearest, ServedDtype.bfloat16) == 0


def test_float16_overflow_is_one_step_beyond_the_largest():
    assert distance(1e6, 65504, ServedDtype.float16) == 1


PAIRS = npst.arrays(np.float32, (2, 9), elements=st.floats(width=32, allow_nan=False) | st.sampled_from([0.0, -0.0]))


@given(PAIRS, st.sampled_from(list(ServedDtype)))
def test_the_largest_is_that_of_all(pair, dtype):
    assert max_ulp(pair[0], pair[1], dtype) == int(ulp_distance(pair[0], pair[1], dtype).max())
