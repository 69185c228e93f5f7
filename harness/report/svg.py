"""Draws a chart as inline SVG: axes, lines, bars, points. It knows coordinates and colours' names, no meaning.

Colours are CSS variables (harness.report.palette), so one drawing serves light and dark pages and print. A chart is
drawn at the width of a phone and scales up, so that its text stays readable on both.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from harness.report.axis import Axis, tick_text

WIDTH, HEIGHT = 420, 250
LEFT, RIGHT, TOP, BOTTOM = 48, 10, 12, 40


class Chart:
    """A drawing in the making; `render` gives the <svg>. Coordinates are values of the two axes."""

    def __init__(self, title: str, x: Axis, y: Axis, width: int = WIDTH, height: int = HEIGHT) -> None:
        self.title = title
        self._x = x
        self._y = y
        self._width = width
        self._height = height
        self._parts: list[str] = []

    def line(self, xs: Sequence[float], ys: Sequence[float], colour: str, dash: str = "") -> None:
        """Straight pieces through all points."""
        points = " ".join(f"{self._left(x):.1f},{self._top(y):.1f}" for x, y in zip(xs, ys, strict=True))
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self._parts.append(f'<polyline points="{points}" class="l" style="stroke:var(--{colour})"{dashed}/>')

    def points(self, xs: Sequence[float], ys: Sequence[float], colour: str, texts: Sequence[str] = ()) -> None:
        """A dot each; `texts` appear under the pointer."""
        for number, (x, y) in enumerate(zip(xs, ys, strict=True)):
            tip = f"<title>{escape(texts[number])}</title>" if texts else ""
            place = f'cx="{self._left(x):.1f}" cy="{self._top(y):.1f}"'
            self._parts.append(f'<circle {place} r="3.2" style="fill:var(--{colour})">{tip}</circle>')

    def crosses(self, xs: Sequence[float], ys: Sequence[float], colour: str, texts: Sequence[str] = ()) -> None:
        """An x each: what failed."""
        for number, (x, y) in enumerate(zip(xs, ys, strict=True)):
            tip = f"<title>{escape(texts[number])}</title>" if texts else ""
            left, top = self._left(x), self._top(y)
            path = f"M{left - 4:.1f} {top - 4:.1f}l8 8m0 -8l-8 8"
            self._parts.append(f'<path d="{path}" class="l" style="stroke:var(--{colour})">{tip}</path>')

    def bar(self, x0: float, x1: float, y0: float, y1: float, colour: str, text: str = "") -> None:
        """A filled rectangle between two corners."""
        left, right, top, bottom = self._left(x0), self._left(x1), self._top(y1), self._top(y0)
        tip = f"<title>{escape(text)}</title>" if text else ""
        size = f'width="{max(right - left, 0.3):.1f}" height="{max(bottom - top, 0.3):.1f}"'
        self._parts.append(f'<rect x="{left:.1f}" y="{top:.1f}" {size} style="fill:var(--{colour})">{tip}</rect>')

    def level(self, y: float, text: str) -> None:
        """A dashed line across, such as a limit, with a word on it."""
        top = self._top(y)
        right = self._width - RIGHT
        self._parts.append(f'<path d="M{LEFT} {top:.1f}H{right}" class="limit"/>')
        above = top - 4 if top > TOP + 14 else top + 12
        self._parts.append(f'<text x="{right}" y="{above:.1f}" text-anchor="end">{escape(text)}</text>')

    def word(self, x: float, y: float, text: str, anchor: str = "start") -> None:
        """A text beside a point."""
        self._parts.append(
            f'<text x="{self._left(x) + (5 if anchor == "start" else -5):.1f}" y="{self._top(y) + 4:.1f}" '
            f'text-anchor="{anchor}">{escape(text)}</text>'
        )

    def render(self, x_names: Sequence[str] = (), y_names: Sequence[str] = ()) -> str:
        """The whole <svg>. Names, if given, label 0, 1, 2, … on an axis of things rather than numbers."""
        box = f'viewBox="0 0 {self._width} {self._height}"'
        body = "".join([*self._vertical(x_names), *self._horizontal(y_names), *self._parts])
        title = escape(self.title)
        return f'<svg {box} role="img" aria-label="{title}"><title>{title}</title>{body}</svg>'

    def _vertical(self, names: Sequence[str]) -> list[str]:
        bottom = self._height - BOTTOM
        marks = _marks(self._x, names)
        found = []
        for value, text in marks:
            left = self._left(value)
            found.append(f'<path d="M{left:.1f} {TOP}V{bottom}" class="g"/>')
            found.append(f'<text x="{left:.1f}" y="{bottom + 14}" text-anchor="middle">{escape(text)}</text>')
        middle = (LEFT + self._width - RIGHT) / 2
        label = escape(self._x.label)
        return [*found, f'<text x="{middle}" y="{self._height - 6}" text-anchor="middle" class="a">{label}</text>']

    def _horizontal(self, names: Sequence[str]) -> list[str]:
        right = self._width - RIGHT
        marks = _marks(self._y, names)
        found = []
        for value, text in marks:
            top = self._top(value)
            found.append(f'<path d="M{LEFT} {top:.1f}H{right}" class="g"/>')
            found.append(f'<text x="{LEFT - 5}" y="{top + 4:.1f}" text-anchor="end">{escape(text)}</text>')
        middle = (TOP + self._height - BOTTOM) / 2
        turned = f'transform="translate(11 {middle}) rotate(-90)" text-anchor="middle"'
        return [*found, f'<text {turned} class="a">{escape(self._y.label)}</text>']

    def _left(self, x: float) -> float:
        return LEFT + self._x.place(x) * (self._width - LEFT - RIGHT)

    def _top(self, y: float) -> float:
        return self._height - BOTTOM - self._y.place(y) * (self._height - TOP - BOTTOM)


def _marks(axis: Axis, names: Sequence[str]) -> list[tuple[float, str]]:
    if names:
        return [(float(number), name) for number, name in enumerate(names)]
    return [(tick, tick_text(tick)) for tick in axis.ticks()]
