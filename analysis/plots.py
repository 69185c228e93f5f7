"""What the notebooks hand to the charts of the reports: points and variants as these know them, and comparisons."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.requests import read_points
from harness import charts
from harness.charts import NEUTRAL, Chart, Dots, Figure, Line, axis
from harness.report import PointView
from harness.run_folder import METRICS
from harness.sweep.table import SweepRow, mark


def point_views(run_dir: Path | str, name: str = "") -> list[PointView]:
    """The timed points of a run as its report draws them, ascending by rate; `name` goes before their labels.

    Points that cannot be read are skipped, and RecordsError is raised, as by `analysis.load_requests`.
    """
    views = []
    for point, records in read_points(run_dir).records.items():
        folder = Path(run_dir) / point
        metrics = json.loads((folder / METRICS).read_text())
        views.append(PointView(f"{name} {point}".strip(), metrics, metrics.get("rate"), records, folder))
    return sorted(views, key=lambda view: view.rate or 0.0)


def sweep_rows(sweep: pd.DataFrame, knobs: Sequence[str]) -> list[SweepRow]:
    """The variants as the sweep's report knows them, in the frame's order, with the Pareto set and the best marked."""
    rows = [
        SweepRow(
            number,
            {knob: str(values[knob]) for knob in knobs},
            {str(key): value for key, value in values.items()},
            values["verdict"] == "pass",
            accuracy=str(values["accuracy_status"]),
        )
        for number, values in enumerate(sweep.to_dict("records"))
    ]
    mark(rows)
    return rows


def intervals(comparison: pd.DataFrame) -> Figure:
    """Each metric's change from A to B with its interval, from `analysis.compare_runs`; 0 = no difference."""
    title = "Change from A to B"
    hues = {"faster": "green", "slower": "vermillion"}
    percent = 100 * comparison[["low", "high", "change"]].to_numpy()
    x, y = axis(f"{title}, %", percent.ravel()), charts.rows("", len(percent), comparison["metric"].tolist())
    chart = Chart(title, x, y, 24 * len(percent))
    chart.line([0.0, 0.0], [-0.5, len(percent) - 0.5], NEUTRAL)
    for place, ((low, high, change), verdict) in enumerate(zip(percent.tolist(), comparison["verdict"], strict=True)):
        hue = hues.get(verdict, NEUTRAL)
        text = f"{verdict}: {change:+.1f} % ({low:+.1f} to {high:+.1f} %)"
        if np.isfinite([low, high]).all():
            chart.bar(low, high, place - 0.1, place + 0.1, hue, text)
        if np.isfinite(change):
            chart.points([change], [place], hue, [text])
    return Figure(title, chart.render(), "95 % intervals", [*hues.items(), ("no evidence", NEUTRAL)], wide=True)


def request_by_request(pairs: pd.DataFrame, name: str, label: str) -> Figure:
    """A figure of each request in B against the same in A, columns NAME_a and NAME_b; below the line B was faster."""
    known = pairs.dropna(subset=[f"{name}_a", f"{name}_b"])
    a, b = known[f"{name}_a"].tolist(), known[f"{name}_b"].tolist()
    values = zip(known["index"], a, b, strict=True)
    texts = [f"request {index}: {one:.4g} in A, {other:.4g} in B" for index, one, other in values]
    x, y = axis(f"{label} in A", [*a, *b]), axis(f"{label} in B", [*a, *b])
    dots = {"requests": Dots(a, b, texts, charts.colour(0))}
    return charts.scatter(label, x, y, dots, line=Line([0.0, x.high], [0.0, y.high], NEUTRAL))
