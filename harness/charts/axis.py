"""Axes of a chart: from values to a place between 0 and 1, and what to label. Pure; it draws nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.charts.labels import tick_texts

_STEPS = (1, 2, 2.5, 5, 10)
_LOG_RATIO = 50  # a positive quantity that spreads further than this is drawn on a logarithmic axis


@dataclass(frozen=True)
class Axis:
    """From `low` to `high`, both finite and not equal; low > 0 if it is logarithmic."""

    label: str  # with its unit
    low: float
    high: float
    log: bool = False
    names: tuple[str, ...] | None = None  # of things at 0, 1, 2, …; None: of numbers

    def place(self, value: float) -> float:
        """0 at low, 1 at high; values outside are moved to the nearer end."""
        value = min(max(value, min(self.low, self.high)), max(self.low, self.high))
        if self.log:
            low = math.log(self.low)  # differences of logarithms: a quotient may overflow
            return (math.log(value) - low) / (math.log(self.high) - low)
        return (value - self.low) / (self.high - self.low)

    def marks(self, wanted: int = 5) -> list[tuple[float, str]]:
        """Where the axis is labelled, and how."""
        if self.names is not None:
            return [(float(number), name) for number, name in enumerate(self.names)]
        ticks = self.ticks(wanted)
        return list(zip(ticks, tick_texts(ticks), strict=True))

    def ticks(self, wanted: int = 5) -> list[float]:
        """Round numbers within the axis, ascending."""
        if self.log:
            return self._log_ticks(wanted)
        rough = (self.high - self.low) / wanted
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(factor * power for factor in _STEPS if factor * power >= rough * 0.999)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]

    def _log_ticks(self, wanted: int) -> list[float]:
        exponents = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for factors in ((1, 2, 5), (1, 3), (1,)):
            ticks = [f * 10.0**e for e in exponents for f in factors]
            inside = [value for value in ticks if self.low * 0.999 <= value <= self.high * 1.001]
            if len(inside) <= wanted + 2:
                break
        return inside[:: max(1, math.ceil(len(inside) / (wanted + 2)))]


def axis(
    label: str, values: Iterable[float], *, zero: bool = True, log: bool | None = False, spread: float = 0.0
) -> Axis:
    """An axis that holds all finite values. log=None: logarithmic if the values are positive and spread widely.

    `spread`: the least width, as a share of the values' size, so that noise does not look like a difference.
    """
    finite = [float(value) for value in values if math.isfinite(value)]
    positive = [value for value in finite if value > 0]
    if log is None:
        log = bool(positive) and len(positive) == len(finite) and max(positive) / min(positive) > _LOG_RATIO
    if log and positive:
        low, high = min(positive), max(positive)
        return Axis(label, low / 1.2, high * 1.2, log=True)
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        low, high = (low, low + 1.0) if zero or low == 0 else (low - abs(low) * 0.1, low + abs(low) * 0.1)
    lacking = max(0.0, spread * max(abs(low), abs(high)) - (high - low))
    low, high = low - lacking / 2, high + lacking / 2
    room = (high - low) * 0.04
    return Axis(label, low if zero and low == 0 else low - room, high + room)


def columns(label: str, names: Sequence[str]) -> Axis:
    """A horizontal axis of things, from left to right."""
    return Axis(label, -0.5, len(names) - 0.5, names=tuple(names))


def rows(label: str, count: int, names: Sequence[str] = ()) -> Axis:
    """A vertical axis of things, from the top down; they need no names."""
    return Axis(label, count - 0.5, -0.5, names=tuple(names))
