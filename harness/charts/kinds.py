"""The kinds of charts, each from plain values to a Figure. They compute nothing but what is drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.charts.axis import Axis, axis, columns, rows
from harness.charts.figure import Figure
from harness.charts.labels import number
from harness.charts.palette import FAILED, colour, dash
from harness.charts.svg import HEIGHT, Chart

Values = Sequence[float] | NDArray[np.float64]
_ECDF_POINTS = 200


@dataclass(frozen=True)
class Line:
    """ys at xs, [num_points]; points that are not finite are left out. low, high: an interval around each, if known."""

    xs: Values
    ys: Values
    colour: str = ""  # '' = the next of the palette
    low: Values = ()
    high: Values = ()


@dataclass(frozen=True)
class Dots:
    """Points of one kind, with what is shown of each under the pointer; crosses for what failed."""

    xs: Values
    ys: Values
    texts: Sequence[str]
    colour: str
    crosses: bool = False


@dataclass(frozen=True)
class Span:
    """A bar from start to end in a row; `text` appears under the pointer. failed: a cross marks its end."""

    start: float
    end: float
    colour: str
    text: str
    failed: bool = False


def lines(title: str, x: Axis, y: Axis, series: Mapping[str, Line], note: str = "", *, dots: bool = False) -> Figure:
    """A line per name, with its interval as a band. dots: mark every point, where they are few."""
    chart = Chart(title, x, y)
    hues = [line.colour or colour(order) for order, line in enumerate(series.values())]
    for order, (name, line) in enumerate(series.items()):
        known = [place for place, value in enumerate(line.ys) if math.isfinite(value)]
        xs, ys = [float(line.xs[place]) for place in known], [float(line.ys[place]) for place in known]
        if len(line.low):
            sure = [place for place in known if math.isfinite(line.low[place]) and math.isfinite(line.high[place])]
            low, high = ([float(side[place]) for place in sure] for side in (line.low, line.high))
            chart.band([float(line.xs[place]) for place in sure], low, high, hues[order])
        texts = [f"{name}: {number(b)} at {number(a)}" for a, b in zip(xs, ys, strict=True)]
        chart.line(xs, ys, hues[order], dash(order), () if dots else texts)
        if dots:
            chart.points(xs, ys, hues[order], texts)
    return Figure(title, chart.render(), note, _legend(list(series), hues))


def ecdf(title: str, label: str, samples: Mapping[str, NDArray[np.float64]], note: str = "") -> Figure:
    """Share of samples at or below each value, a line per name; samples [num_samples] are finite. label: with unit."""
    chart = Chart(
        f"{title}: share of samples at or below",
        axis(label, np.concatenate(list(samples.values())), log=None),
        Axis("share of samples", 0.0, 1.0),
    )
    for order, (name, values) in enumerate(samples.items()):
        if len(values):
            xs, ys = _ecdf(np.sort(values))
            texts = [f"{name}: {100 * b:.3g} % at or below {number(a)}" for a, b in zip(xs, ys, strict=True)]
            chart.line(xs, ys, colour(order), dash(order), texts)
    return Figure(title, chart.render(), note, _legend(list(samples), [colour(order) for order in range(len(samples))]))


def scatter(
    title: str, x: Axis, y: Axis, groups: Mapping[str, Dots], note: str = "", *, line: Line | None = None,
    level: tuple[float, str] | None = None,
) -> Figure:  # fmt: skip
    """Points of several kinds; `line` joins some of them, such as the Pareto front; `level` is a limit and its name."""
    chart = Chart(title, x, y)
    if line is not None:
        chart.line(list(line.xs), list(line.ys), line.colour)
    for dots in groups.values():
        draw = chart.crosses if dots.crosses else chart.points
        draw(list(dots.xs), list(dots.ys), dots.colour, dots.texts)
    if level is not None:
        chart.level(*level)
    return Figure(title, chart.render(), note, [(name, dots.colour) for name, dots in groups.items() if len(dots.xs)])


def bars(
    title: str, x_label: str, label: str, values: Mapping[str, float], note: str = "", *,
    single: Mapping[str, Values] | None = None,
) -> Figure:  # fmt: skip
    """A bar from 0 per name; `single`: the values that each bar is the mean of, as dots."""
    single = single or {}
    y = axis(label, [*values.values(), *(float(one) for of_bar in single.values() for one in of_bar)])
    chart = Chart(title, columns(x_label, list(values)), y)
    for place, (name, value) in enumerate(values.items()):
        chart.bar(place - 0.3, place + 0.3, 0.0, value, colour(0), f"{name}: {number(value)}")
        ones = [float(one) for one in single.get(name, ())] if len(single.get(name, ())) > 1 else []
        chart.points([float(place)] * len(ones), ones, colour(1), [f"{name}: {number(one)}" for one in ones])
    return Figure(title, chart.render(), note)


def spans(
    title: str, x: Axis, content: Sequence[Sequence[Span]], legend: list[tuple[str, str]], note: str = "", *,
    label: str = "", names: Sequence[str] = (), height: int = HEIGHT, wide: bool = False,
) -> Figure:  # fmt: skip
    """Rows of bars from the top down, such as a timeline; `label` and `names` of the rows."""
    chart = Chart(title, x, rows(label, len(content), names), height)
    for place, row in enumerate(content):
        for span in row:
            chart.bar(span.start, span.end, place - 0.4, place + 0.4, span.colour, span.text)
            if span.failed:
                chart.crosses([span.end], [place], FAILED, [span.text])
    return Figure(title, chart.render(), note, legend, wide)


def front(points: Sequence[tuple[float, float]], hue: str) -> Line:
    """The line through a Pareto set: from the largest x down, each with a smaller y than those before."""
    edge: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda point: (-point[0], point[1])):
        if not edge or point[1] < edge[-1][1]:
            edge.append(point)
    return Line([x for x, _ in edge], [y for _, y in edge], hue)


def _ecdf(values: NDArray[np.float64]) -> tuple[list[float], list[float]]:
    """Steps of the empirical distribution of sorted values, thinned where they are closer than can be seen."""
    shares = np.arange(1, len(values) + 1) / len(values)
    keep = np.unique(np.linspace(0, len(values) - 1, min(len(values), _ECDF_POINTS)).astype(int))
    xs = np.repeat(values[keep], 2)
    ys = np.concatenate([[0.0], np.repeat(shares[keep], 2)[:-1]])
    return xs.tolist(), ys.tolist()


def _legend(names: list[str], hues: list[str]) -> list[tuple[str, str]]:
    return list(zip(names, hues, strict=True)) if len(names) > 1 else []
