"""How many samples a percentile needs, and what bootstrap intervals cover."""

import functools

import numpy as np
import pytest

from harness.measure import bootstrap
from harness.measure.percentiles import min_samples, supports

median = functools.partial(np.percentile, q=50)


@pytest.mark.parametrize(("percentile", "needed"), [(50, 11), (90, 64), (95, 130), (99, 662)])
def test_mlperf_table(percentile: float, needed: int) -> None:
    assert min_samples(percentile) == needed
    assert supports(needed, percentile)
    assert not supports(needed - 1, percentile)


def test_percentile_out_of_range() -> None:
    with pytest.raises(ValueError, match="percentile 100"):
        min_samples(100)


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(60):
        groups = [np.asarray([value]) for value in rng.normal(10, 1, 60)]
        ((low, high),) = bootstrap.percentile_intervals(groups, (50,), seed=trial) or [(0, 0)]
        hits += low <= 10 <= high
    assert 51 <= hits <= 60


def test_gaps_of_one_request_do_not_pass_for_independent_samples() -> None:
    rng = np.random.default_rng(1)
    groups = [np.full(50, level) for level in rng.normal(10, 1, 12)]  # 600 gaps, but only 12 levels
    grouped = bootstrap.percentile_intervals(groups, (50,))
    naive = bootstrap.percentile_intervals([np.asarray([v]) for v in np.concatenate(groups)], (50,))
    assert grouped is not None
    assert naive is not None
    assert np.ptp(grouped[0]) > 2 * np.ptp(naive[0])


def test_groups_are_resampled_whole() -> None:
    groups = [np.asarray([1.0, 1.0, 1.0]), np.asarray([5.0])]
    sums = bootstrap.resample(groups, lambda values: float(values.sum()), 0, 200)
    assert set(sums) == {6.0, 8.0, 10.0}


def test_relative_change_finds_a_shift_and_only_a_shift() -> None:
    rng = np.random.default_rng(2)
    old, same, slower = ([np.asarray([v]) for v in rng.gamma(20, scale, 200)] for scale in (1, 1, 1.2))
    ((change, low, high),) = bootstrap.relative_change(old, same, median) or [(9, 9, 9)]
    assert low < 0 < high
    both = functools.partial(np.percentile, q=[50, 90])
    for change, low, high in bootstrap.relative_change(old, slower, both) or [(9, 9, 9)]:
        assert 0.05 < low < 0.2 < high < 0.35
        assert low < change < high


def test_too_few_groups_give_no_interval() -> None:
    assert bootstrap.percentile_intervals([np.asarray([1.0, 2.0])], (50,)) is None
    assert bootstrap.relative_change([np.asarray([1.0])], [np.asarray([1.0])], median) is None
