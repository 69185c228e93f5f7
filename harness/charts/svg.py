"""Draws a chart as inline SVG: axes, lines, bars, points. It knows coordinates and colours' names, no meaning.

A chart is as wide as its place and keeps its height: x is in percent of the plot's width, y in px. So text keeps its
size on a phone and on a screen. Ticks and titles stand in the <svg>'s padding. Colours are CSS variables
(style.css), so one drawing serves light and dark pages and print. A <title> appears under the pointer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from harness.charts.axis import Axis

HEIGHT = 200  # of the plot, px
_RIGHT, _TOP, _BOTTOM = 14, 10, 40
_TITLE = 20  # the band of the vertical axis's title
_GAP = 5
_DIGIT = 7.7  # a digit of 12 px in the widest of the usual fonts
_NARROWEST = 340  # a chart on a phone, px: what its labels must fit
_MIN_PX = 0.6  # a bar thinner than this cannot be seen
_NUM_HOVERS = 30  # places of a line that show their values


class Chart:
    """A drawing in the making; `render` gives the <svg>. Coordinates are values of the two axes."""

    def __init__(self, title: str, x: Axis, y: Axis, height: int = HEIGHT) -> None:
        self.title = title
        self._x, self._y, self._height = x, y, height
        self._y_marks = y.marks()
        longest = max((_text_width(text) + _GAP for _, text in self._y_marks), default=0.0)
        self._left = round(longest + (_TITLE if y.label else 4))
        self._x_marks = _few_enough(x, _NARROWEST - self._left - _RIGHT)
        self._lines: list[str] = []  # stretched with the plot, below everything else
        self._parts: list[str] = []

    def line(
        self, xs: Sequence[float], ys: Sequence[float], colour: str, dash: str = "", texts: Sequence[str] = ()
    ) -> None:
        """Straight pieces through all points; `texts` of some of them appear under the pointer."""
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self._lines.append(
            f'<polyline points="{self._path(xs, ys)}" class="l" style="stroke:var(--{colour})"{dashed}/>'
        )
        every = math.ceil(len(texts) / _NUM_HOVERS) if texts else 1
        spots = [
            f'<circle {self._at(xs[n], ys[n])} r="5">{_tip(texts[n])}</circle>' for n in range(0, len(texts), every)
        ]
        self._parts += ['<g class="hover">', *spots, "</g>"] if spots else []

    def band(self, xs: Sequence[float], low: Sequence[float], high: Sequence[float], colour: str) -> None:
        """The area between two lines, such as an interval around a third."""
        points = self._path([*xs, *reversed(xs)], [*low, *reversed(high)])
        self._lines.append(f'<polygon points="{points}" class="band" style="fill:var(--{colour})"/>')

    def points(self, xs: Sequence[float], ys: Sequence[float], colour: str, texts: Sequence[str]) -> None:
        """A dot each; `texts` appear under the pointer."""
        for x, y, text in zip(xs, ys, texts, strict=True):
            dot = f'<circle {self._at(x, y)} r="3.5" style="fill:var(--{colour})">{_tip(text)}</circle>'
            self._parts.append(dot)

    def crosses(self, xs: Sequence[float], ys: Sequence[float], colour: str, texts: Sequence[str]) -> None:
        """An x each: what failed."""
        for x, y, text in zip(xs, ys, texts, strict=True):
            path = f'<path d="M-4 -4l8 8m0 -8l-8 8" class="l" style="stroke:var(--{colour})"/>'
            place = f'x="{self._percent(x)}" y="{self._px(y):.1f}"'
            self._parts.append(f"<svg {place}>{_tip(text)}{path}</svg>")

    def bar(self, x0: float, x1: float, y0: float, y1: float, colour: str, text: str) -> None:
        """A filled rectangle between two corners; x0 <= x1."""
        top, bottom = sorted((self._px(y0), self._px(y1)))
        percent = 100 * (self._x.place(x1) - self._x.place(x0))
        width = f'width="{percent:.2f}%"' if percent >= 0.1 else f'width="{_MIN_PX}"'
        place = f'x="{self._percent(x0)}" y="{top:.1f}" {width} height="{max(bottom - top, 0.3):.1f}"'
        self._parts.append(f'<rect {place} style="fill:var(--{colour})">{_tip(text)}</rect>')

    def level(self, y: float, text: str) -> None:
        """A dashed line across, such as a limit, with a word on it."""
        top = self._px(y)
        above = top - 4 if top > 14 else top + 12
        self._parts.append(f'<line x1="0" x2="100%" y1="{top:.1f}" y2="{top:.1f}" class="limit"/>')
        self._parts.append(f'<text x="100%" y="{above:.1f}" text-anchor="end">{escape(text)}</text>')

    def render(self) -> str:
        """The whole <svg>."""
        size = f"height:{self._height + _TOP + _BOTTOM}px;padding:{_TOP}px {_RIGHT}px {_BOTTOM}px {self._left}px"
        box = f'width="100%" height="{self._height}" viewBox="0 0 100 {self._height}" preserveAspectRatio="none"'
        stretched = f"<svg {box}>{''.join(self._lines)}</svg>" if self._lines else ""
        body = "".join([*self._vertical(), *self._horizontal(), stretched, *self._parts])
        return f'<svg style="{size}" role="img" aria-label="{escape(self.title)}">{body}</svg>'

    def _vertical(self) -> list[str]:
        parts = []
        for value, text in self._x_marks:
            at = self._percent(value)
            parts.append(f'<line x1="{at}" x2="{at}" y1="0" y2="{self._height}" class="g"/>')
            parts.append(f'<text x="{at}" y="{self._height + 15}" text-anchor="middle">{escape(text)}</text>')
        below = f'x="50%" y="{self._height + _BOTTOM - 6}" text-anchor="middle" class="a"'
        return [*parts, f"<text {below}>{escape(self._x.label)}</text>"]

    def _horizontal(self) -> list[str]:
        parts = []
        for value, text in self._y_marks:
            top = self._px(value)
            parts.append(f'<line x1="0" x2="100%" y1="{top:.1f}" y2="{top:.1f}" class="g"/>')
            parts.append(f'<text x="{-_GAP}" y="{top + 4:.1f}" text-anchor="end">{escape(text)}</text>')
        turned = f'transform="translate({12 - self._left} {self._height / 2:.0f}) rotate(-90)" text-anchor="middle"'
        return [*parts, f'<text {turned} class="a">{escape(self._y.label)}</text>']

    def _path(self, xs: Sequence[float], ys: Sequence[float]) -> str:
        return " ".join(f"{100 * self._x.place(x):.2f},{self._px(y):.1f}" for x, y in zip(xs, ys, strict=True))

    def _at(self, x: float, y: float) -> str:
        return f'cx="{self._percent(x)}" cy="{self._px(y):.1f}"'

    def _percent(self, x: float) -> str:
        return f"{100 * self._x.place(x):.2f}%"

    def _px(self, y: float) -> float:
        return self._height * (1 - self._y.place(y))


def _tip(text: str) -> str:
    return f"<title>{escape(text)}</title>" if text else ""


def _text_width(text: str) -> float:
    """About how wide a label is drawn, in px; rather too much than too little."""
    return sum(_DIGIT / 2 if letter in ".,-ilt|' " else _DIGIT for letter in text)


def _few_enough(axis: Axis, room: float) -> list[tuple[float, str]]:
    """The labels of a horizontal axis of `room` px: fewer numbers, shorter names where long ones would touch."""
    marks = axis.marks()
    if axis.names is not None:
        longest = int(room / max(len(marks), 1) / _DIGIT)
        return [(at, text if len(text) <= longest else text[: max(longest - 1, 1)] + "…") for at, text in marks]
    for wanted in (4, 3, 2):
        if sum(_text_width(text) + 2 * _GAP for _, text in marks) <= room:
            break
        marks = axis.marks(wanted)
    return marks
