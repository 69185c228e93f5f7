"""What counts as better, beyond the noise, and which of many results are worth having: the Pareto set. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

TOLERANCE = 0.01  # figures whose ratio is nearer to 1 are called equal: two runs of one configuration differ by more


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval; NaN = unknown."""

    value: float
    low: float = math.nan
    high: float = math.nan

    def close(self, other: Estimate) -> bool:
        """Whether the two differ by TOLERANCE at most."""
        return abs(self.value - other.value) <= TOLERANCE * min(abs(self.value), abs(other.value))

    def ties(self, other: Estimate) -> bool:
        """Whether the two differ by no more than noise: they are close, or their intervals overlap."""
        return self.close(other) or (self.low <= other.high and other.low <= self.high)  # False if one is unknown


Point = tuple[Estimate, Estimate]  # throughput (more is better) and latency (less is better)


def pareto_set(points: Sequence[Point]) -> list[bool]:
    """Whether each point is in the set: known, and beaten by no other. Of known points at least one is."""
    known = [point for point in points if _is_known(point)]
    return [_is_known(point) and not any(beats(other, point) for other in known) for point in points]


def beats(a: Point, b: Point) -> bool:
    """Whether a is better than b in throughput or latency and no worse in the other, beyond the noise.

    A tie isn't transitive, so a must also gain more than it loses, as ratios: then no points beat each other in a
    circle.
    """
    (fast, late), (other_fast, other_late) = a, b
    same_fast, same_late = fast.ties(other_fast), late.ties(other_late)
    return (
        (same_fast or fast.value > other_fast.value)
        and (same_late or late.value < other_late.value)
        and not (same_fast and same_late)
        and fast.value * other_late.value > other_fast.value * late.value
    )


def _is_known(point: Point) -> bool:
    return all(math.isfinite(figure.value) for figure in point)
