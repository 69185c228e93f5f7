"""The Pareto rule: what is better only by noise is not better."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.pareto import Estimate, Point, beats, pareto_set


def point(throughput: float, latency: float, half_interval: float = math.nan) -> Point:
    return Estimate(throughput), Estimate(latency, latency - half_interval, latency + half_interval)


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([point(10, 100), point(20, 200), point(15, 250), point(10, 100)], [True, True, False, True]),
        ([point(100, 50), point(100.9, 50.4)], [True, True]),  # both within 1 %
        ([point(100, 50), point(102, 50.4)], [False, True]),  # as late, and faster by more than 1 %
        ([point(100, 50, 4), point(100, 55, 4)], [True, True]),  # intervals overlap
        ([point(100, 50, 2), point(100, 55, 2)], [True, False]),
        ([point(100, 50, 4), point(100, 55)], [True, False]),  # one interval is unknown
        ([point(math.nan, 1), point(1, math.nan), point(1, 9)], [False, False, True]),
        ([], []),
    ],
)
def test_the_set(points: list[Point], expected: list[bool]) -> None:
    assert pareto_set(points) == expected


_FIGURE = st.floats(1.0, 1.1)


@given(st.lists(st.tuples(_FIGURE, _FIGURE, st.floats(0.0, 0.1)), min_size=1))
def test_some_point_is_in_the_set_however_much_they_overlap(values: list[tuple[float, float, float]]) -> None:
    assert any(pareto_set([point(*value) for value in values]))


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1))
def test_what_is_not_in_the_set_is_beaten_by_one_that_is(values: list[tuple[int, int]]) -> None:
    points = [point(*value) for value in values]
    front = [one for one, is_in in zip(points, pareto_set(points), strict=True) if is_in]
    assert all(one in front or any(beats(better, one) for better in front) for one in points)
