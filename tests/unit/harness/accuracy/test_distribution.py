import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from harness.accuracy.distribution import kl_divergence, top_tokens, top_tokens_of_two


def exact_kl(base, new):
    """The definition, in 80-bit floats."""
    base, new = base.astype(np.longdouble), new.astype(np.longdouble)
    log_p = base - base.max() - np.log(np.exp(base - base.max()).sum())
    log_q = new - new.max() - np.log(np.exp(new - new.max()).sum())
    return float((np.exp(log_p) * (log_p - log_q)).sum())


@pytest.mark.parametrize("scale", [1e-5, 1e-4, 1e-3, 9e-3, 0.02, 0.3, 3, 30])
@pytest.mark.parametrize("seed", range(4))
def test_kl_matches_the_definition(scale, seed):
    random = np.random.default_rng(seed)
    base = random.normal(0, 5, 3000).astype(np.float32)
    new = base + random.normal(0, scale, 3000).astype(np.float32)
    assert kl_divergence(base, new) == pytest.approx(exact_kl(base, new), rel=2e-3, abs=1e-14)


@settings(max_examples=50)
@given(npst.arrays(np.float32, 12, elements=st.floats(-80, 80, width=32)), st.floats(-50, 50, width=32))
def test_a_shift_of_all_logits_changes_no_distribution(base, shift):
    shifted = base + np.float32(shift)
    assert kl_divergence(base, shifted) == pytest.approx(exact_kl(base, shifted), abs=1e-9)
    assert kl_divergence(base, base) == 0


def test_kl_of_masked_tokens():
    base = np.array([1, 2, -np.inf], np.float32)
    assert kl_divergence(base, base) == 0
    assert kl_divergence(np.array([1, 2, 3], np.float32), base) == np.inf
    allowed = np.array([1, 2, 0], np.float32)
    assert kl_divergence(base, allowed) == pytest.approx(np.log(1 + 1 / (np.e + np.e**2)), rel=1e-6)
    assert np.isnan(kl_divergence(np.array([1, np.nan], np.float32), base[:2]))


@given(
    npst.arrays(np.float32, st.integers(1, 700), elements=st.integers(-5, 5) | st.floats(-1e3, 1e3, width=32)),
    st.integers(1, 6),
)
def test_top_tokens_are_those_of_a_full_sort(row, count):
    expected = sorted(range(len(row)), key=lambda token: (-row[token], token))[:count]
    assert top_tokens(row, count) == expected


def test_top_tokens_of_a_masked_row():
    row = np.full(1000, -np.inf, np.float32)
    row[[7, 900]] = [1, 2]
    assert top_tokens(row, 3) == [900, 7, 0]


@settings(max_examples=200)
@given(
    npst.arrays(np.float32, st.integers(1, 700), elements=st.integers(-5, 5) | st.floats(-1e3, 1e3, width=32)),
    st.sampled_from([0, 1e-4, 0.5, 3, 1e4, np.inf]),
    st.integers(0, 100),
)
def test_one_search_serves_two_rows(base, scale, seed):
    change = np.random.default_rng(seed).normal(0, 1, len(base)).astype(np.float32)
    new = base + change * np.float32(scale) if np.isfinite(scale) else np.where(change > 1, np.float32(np.inf), base)
    with np.errstate(invalid="ignore"):
        largest = float(np.abs(new - base).max())
    assert top_tokens_of_two(new, base, 5, largest) == (top_tokens(new, 5), top_tokens(base, 5))
