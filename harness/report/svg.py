"""Draws a chart as inline SVG: axes, lines, bars, points. It knows coordinates and colours' names, no meaning.

Colours are CSS variables (harness.report.palette), so one drawing serves light and dark pages and print. A chart is
drawn at the width of a phone and scales up, so that its text stays readable on both.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from harness.report.axis import Axis, tick_texts

WIDTH, HEIGHT = 420, 250
LEFT, RIGHT, TOP, BOTTOM = 48, 10, 12, 40  # LEFT: at least; a chart whose numbers are long has more
_TITLE = 18  # the band of the vertical axis's title
_GAP = 5
_DIGIT = 7.0  # a digit of 11 px in the widest of the usual fonts


class Chart:
    """A drawing in the making; `render` gives the <svg>. Coordinates are values of the two axes.

    Names, if given, label 0, 1, 2, … on an axis of things rather than numbers.
    """

    def __init__(
        self,
        title: str,
        x: Axis,
        y: Axis,
        *,
        height: int = HEIGHT,
        x_names: Sequence[str] = (),
        y_names: Sequence[str] = (),
    ) -> None:
        self.title = title
        self._x = x
        self._y = y
        self._width = WIDTH
        self._height = height
        self._y_marks = marks(y, y_names)
        longest = max((text_width(text) for _, text in self._y_marks), default=0.0)
        self._margin = max(LEFT, round(longest + _GAP + (_TITLE if y.label else 4)))
        self._x_marks = _few_enough(x, x_names, self._width - self._margin - RIGHT)
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
        self._parts.append(f'<path d="M{self._margin} {top:.1f}H{right}" class="limit"/>')
        above = top - 4 if top > TOP + 14 else top + 12
        self._parts.append(f'<text x="{right}" y="{above:.1f}" text-anchor="end">{escape(text)}</text>')

    def word(self, x: float, y: float, text: str, anchor: str = "start") -> None:
        """A text beside a point."""
        self._parts.append(
            f'<text x="{self._left(x) + (5 if anchor == "start" else -5):.1f}" y="{self._top(y) + 4:.1f}" '
            f'text-anchor="{anchor}">{escape(text)}</text>'
        )

    def render(self) -> str:
        """The whole <svg>."""
        box = f'viewBox="0 0 {self._width} {self._height}"'
        body = "".join([*self._vertical(), *self._horizontal(), *self._parts])
        title = escape(self.title)
        return f'<svg {box} role="img" aria-label="{title}"><title>{title}</title>{body}</svg>'

    def _vertical(self) -> list[str]:
        bottom = self._height - BOTTOM
        found = []
        for value, text in self._x_marks:
            left = self._left(value)
            found.append(f'<path d="M{left:.1f} {TOP}V{bottom}" class="g"/>')
            found.append(f'<text x="{left:.1f}" y="{bottom + 14}" text-anchor="middle">{escape(text)}</text>')
        middle = (self._margin + self._width - RIGHT) / 2
        label = escape(self._x.label)
        return [*found, f'<text x="{middle}" y="{self._height - 6}" text-anchor="middle" class="a">{label}</text>']

    def _horizontal(self) -> list[str]:
        right = self._width - RIGHT
        found = []
        for value, text in self._y_marks:
            top = self._top(value)
            found.append(f'<path d="M{self._margin} {top:.1f}H{right}" class="g"/>')
            found.append(f'<text x="{self._margin - _GAP}" y="{top + 4:.1f}" text-anchor="end">{escape(text)}</text>')
        middle = (TOP + self._height - BOTTOM) / 2
        turned = f'transform="translate(11 {middle}) rotate(-90)" text-anchor="middle"'
        return [*found, f'<text {turned} class="a">{escape(self._y.label)}</text>']

    def _left(self, x: float) -> float:
        return self._margin + self._x.place(x) * (self._width - self._margin - RIGHT)

    def _top(self, y: float) -> float:
        return self._height - BOTTOM - self._y.place(y) * (self._height - TOP - BOTTOM)


def text_width(text: str) -> float:
    """About how wide a label is drawn, in px; rather too much than too little."""
    return sum(_DIGIT / 2 if letter in ".,-ilt|' " else _DIGIT for letter in text)


def marks(axis: Axis, names: Sequence[str] = (), wanted: int = 5) -> list[tuple[float, str]]:
    """Where an axis is labelled, and how."""
    if names:
        return [(float(number), name) for number, name in enumerate(names)]
    ticks = axis.ticks(wanted)
    return list(zip(ticks, tick_texts(ticks), strict=True))


def _few_enough(axis: Axis, names: Sequence[str], room: float) -> list[tuple[float, str]]:
    """The labels of a horizontal axis of `room` px: fewer where long ones would touch."""
    found = marks(axis, names)
    for wanted in (4, 3, 2):
        if names or sum(text_width(text) + 2 * _GAP for _, text in found) <= room:
            break
        found = marks(axis, wanted=wanted)
    return found
