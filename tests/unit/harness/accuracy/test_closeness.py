import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from harness.accuracy.closeness import measure, scratch_for

FLOATS = st.floats(width=32, allow_nan=True, allow_infinity=True)
STEPS = np.array([0, 1e-7, 1e-5, 5e-3, -5e-3, 0.1, -3], np.float32).tolist()
SHAPES = npst.array_shapes(min_dims=2, max_dims=2, max_side=8)
TOLERANCES = st.sampled_from([0.0, 1e-7, 1e-5, 5e-3, 0.1, 3.0])


@st.composite
def pairs(draw):
    """Two blocks that often differ by about a tolerance, with odd values here and there."""
    shape = draw(SHAPES)
    base = draw(npst.arrays(np.float32, shape, elements=FLOATS))
    step = draw(npst.arrays(np.float32, shape, elements=st.sampled_from(STEPS)))
    with np.errstate(all="ignore"):
        new = (base + step).astype(np.float32)
    replaced = draw(npst.arrays(np.bool_, shape, elements=st.booleans(), fill=st.just(False)))
    return np.where(replaced, draw(npst.arrays(np.float32, shape, elements=FLOATS)), new), base


@given(pairs(), TOLERANCES, TOLERANCES)
def test_decides_each_row_as_numpy_does(pair, atol, rtol):
    new, base = pair
    with np.errstate(all="ignore"):
        expected = [np.allclose(*rows, atol=atol, rtol=rtol) for rows in zip(new, base, strict=True)]
    result = measure(new, base, atol, rtol, scratch_for(base.shape[1]))
    assert result.allclose.tolist() == expected
    assert result.has_nan.tolist() == (np.isnan(new) | np.isnan(base)).any(axis=1).tolist()


@given(npst.arrays(np.float32, SHAPES, elements=st.floats(-1e6, 1e6, width=32)), st.floats(-10, 10, width=32))
def test_measures_finite_rows(base, step):
    new = base + np.float32(step)
    result = measure(new, base, 5e-3, 1e-5, scratch_for(base.shape[1]))
    difference = np.abs(new - base)
    assert result.max_abs.tolist() == difference.max(axis=1).tolist()
    np.testing.assert_allclose(result.sum_abs, difference.sum(axis=1), rtol=1e-5)


def test_equal_infinities_are_close_and_others_are_not():
    base = np.array([[np.inf, 1], [np.inf, 1], [-np.inf, 1]], np.float32)
    new = np.array([[np.inf, 1.001], [-np.inf, 1], [0, 1]], np.float32)
    result = measure(new, base, 5e-3, 0, scratch_for(base.shape[1]))
    assert result.allclose.tolist() == [True, False, False]
    assert not result.has_nan.any()
    np.testing.assert_allclose(result.max_abs, [0.001, np.inf, np.inf], rtol=1e-3)


@pytest.mark.parametrize("shape", [(0, 5), (3, 0)])
def test_nothing_differs_in_nothing(shape):
    base = np.zeros(shape, np.float32)
    result = measure(base, base, 0, 0, scratch_for(base.shape[1]))
    assert result.allclose.tolist() == [True] * shape[0]
    assert result.max_abs.tolist() == [0] * shape[0]


def test_scratch_holds_at_least_one_row():
    assert scratch_for(1_000_000).shape == (1, 1_000_000)
    assert scratch_for(256).shape == (256, 256)
    assert len(scratch_for(0)) >= 1


def test_blocks_don_t_show():
    random = np.random.default_rng(0)
    base = random.normal(size=(1001, 200)).astype(np.float32)
    new = base + random.normal(size=base.shape).astype(np.float32) * random.choice([0, 1e-3, 1], (1001, 1))
    new = new.astype(np.float32)
    result = measure(new, base, 5e-3, 1e-5, scratch_for(200))
    assert result.max_abs.tolist() == np.abs(new - base).max(axis=1).tolist()
    assert 100 < result.allclose.sum() < 900
