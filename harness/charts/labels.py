"""Numbers as people read them: in tables, on axes, under the pointer."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence


def number(value: float, digits: int = 4) -> str:
    """A number with `digits` significant digits: 0.001234, 1.234, 12.34, 1,234, 56,789."""
    if not math.isfinite(value):
        return str(value)
    magnitude = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    if isinstance(value, int) or magnitude >= digits:
        return f"{value:,.0f}"
    if value == 0 or abs(value) < 1e-4:
        return f"{value:.{digits - 1}g}"
    return f"{value:.{digits - magnitude}f}" if magnitude else f"{value:.{digits}g}"


def tick_texts(values: Sequence[float]) -> list[str]:
    """The numbers of an axis's ticks, ascending, each with as many digits as it takes to tell them apart."""
    gap = min((b - a for a, b in itertools.pairwise(values)), default=math.inf)
    digits = next((d for d in range(4, 17) if all(abs(float(f"{v:.{d}g}") - v) <= gap / 20 for v in values)), 17)
    return [tick_text(value, digits) for value in values]


def tick_text(value: float, digits: int = 4) -> str:
    """A tick's number: 0, 0.25, 12, 1k, 2.5M; powers of ten where it is tiny."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.{max(digits, 6)}g}{unit}"
    if value == 0 or abs(value) >= 1e-3:
        return f"{value:.{digits}g}"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{float(mantissa):.{digits}g}e{int(exponent)}"
