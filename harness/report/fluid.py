"""A chart of bars as wide as its page: its text keeps its size while the bars stretch, on a phone and on a screen.

Drawn in percent of the plot's width and in px of its height; ticks and titles stand in the <svg>'s padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from harness.report.axis import Axis
from harness.report.svg import BOTTOM, RIGHT, TOP, marks

_LEFT = 24  # room for the turned title: the rows have no numbers
_MIN_PX = 0.6  # a bar thinner than this cannot be seen


class FluidBars:
    """Bars along a horizontal axis, in `num_rows` rows from the top, in a plot `height` px high."""

    def __init__(self, title: str, x: Axis, rows_label: str, num_rows: int, height: float) -> None:
        self.title = title
        self._x = x
        self._rows_label = rows_label
        self._row_px = height / num_rows
        self._height = height
        self._parts: list[str] = []

    def bar(self, row: int, x0: float, x1: float, colour: str, text: str) -> None:
        """A bar from x0 to x1; `text` appears under the pointer."""
        left, right = self._percent(x0), self._percent(x1)
        place = f'x="{left:.2f}%" y="{(row + 0.1) * self._row_px:.1f}" height="{0.8 * self._row_px:.1f}"'
        width = f'width="{right - left:.2f}%"' if right - left >= 0.1 else f'width="{_MIN_PX}"'
        self._parts.append(f'<rect {place} {width} style="fill:var(--{colour})"><title>{escape(text)}</title></rect>')

    def cross(self, row: int, x: float, colour: str, text: str) -> None:
        """An x: what failed."""
        place = f'x="{self._percent(x):.2f}%" y="{(row + 0.5) * self._row_px:.1f}" overflow="visible"'
        path = f'<path d="M-4 -4l8 8m0 -8l-8 8" class="l" style="stroke:var(--{colour})"/>'
        self._parts.append(f"<svg {place}><title>{escape(text)}</title>{path}</svg>")

    def render(self) -> str:
        """The whole <svg>."""
        title = escape(self.title)
        body = "".join([*self._axis(marks(self._x)), *self._parts])
        size = f"height:{self._height + TOP + BOTTOM:.0f}px;padding:{TOP}px {RIGHT}px {BOTTOM}px {_LEFT}px"
        head = f'<svg class="fluid" style="{size}" role="img" aria-label="{title}"><title>{title}</title>'
        return f"{head}{body}</svg>"

    def _axis(self, ticks: Sequence[tuple[float, str]]) -> list[str]:
        found = []
        for value, text in ticks:
            at = f"{self._percent(value):.2f}%"
            found.append(f'<line x1="{at}" x2="{at}" y1="0" y2="{self._height:.0f}" class="g"/>')
            found.append(f'<text x="{at}" y="{self._height + 14:.0f}" text-anchor="middle">{escape(text)}</text>')
        below = f'x="50%" y="{self._height + BOTTOM - 6:.0f}" text-anchor="middle" class="a"'
        turned = f'transform="translate({11 - _LEFT} {self._height / 2:.0f}) rotate(-90)" text-anchor="middle"'
        return [
            *found,
            f"<text {below}>{escape(self._x.label)}</text>",
            f'<text {turned} class="a">{escape(self._rows_label)}</text>',
        ]

    def _percent(self, x: float) -> float:
        return 100.0 * self._x.place(x)
