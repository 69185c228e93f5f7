"""Charts of reports and notebooks: inline SVG that needs no script and no network, light or dark as the page is."""

from harness.charts.axis import Axis, axis, rows
from harness.charts.figure import Figure, Figures
from harness.charts.kinds import Dots, Line, Span, bars, ecdf, front, lines, scatter, spans
from harness.charts.labels import number
from harness.charts.palette import FAILED, NEUTRAL, PHASES, colour, css
from harness.charts.svg import Chart

__all__ = [
    "FAILED", "NEUTRAL", "PHASES", "Axis", "Chart", "Dots", "Figure", "Figures", "Line", "Span", "axis", "bars",
    "colour", "css", "ecdf", "front", "lines", "number", "rows", "scatter", "spans",
]  # fmt: skip
