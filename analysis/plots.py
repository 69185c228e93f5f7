"""The charts of the notebooks: frames handed to the charts of the reports. Show several with `Figures([...])`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from analysis.frames import RATE
from harness import charts
from harness.charts import NEUTRAL, Chart, Dots, Figure, Figures, Line, axis
from harness.measure import timeline
from harness.report import figures
from harness.sweep.table import SweepRow, mark

__all__ = ["Figures", "against_rate", "compared", "ecdf", "gantt", "intervals", "over_time", "sweep_rows"]


def ecdf(values: Mapping[str, pd.Series], label: str) -> Figure:
    """Share of samples at or below each value, a line per name. label: of the x axis, with unit."""
    known = {name: series.dropna().to_numpy(np.float64) for name, series in values.items()}
    counts = " / ".join(f"{len(one):,}" for one in known.values())
    return charts.ecdf(label, label, known, f"{counts} samples")


def against_rate(points: pd.DataFrame, names: Sequence[str], label: str) -> Figure:
    """Figures of a rate sweep's points against the rate asked for, with their 95 % intervals where known."""
    ordered = points.sort_values(RATE)
    rates = ordered[RATE].tolist()
    series = {}
    for name in names:
        low, high = (
            ordered[key].tolist() if (key := f"{name}_ci95_{side}") in ordered else None for side in ("low", "high")
        )
        series[name] = Line(rates, ordered[name].tolist(), low=low, high=high)
    known = [value for line in series.values() for side in (line.ys, line.low, line.high) for value in side or ()]
    x = axis("requests/s asked for", rates)
    return charts.lines(f"{label} against rate", x, axis(label, known), series, dots=True)


def over_time(series: pd.DataFrame, metrics: Sequence[str], label: str) -> Figure:
    """Metrics of `analysis.load_series` of one point along its window; those that are not there are left out."""
    of_each = {metric: series[series["metric"] == metric] for metric in metrics}
    shown = {metric: Line(one["time_s"].tolist(), one["value"].tolist()) for metric, one in of_each.items() if len(one)}
    x, y = axis("time since the start, s", series["time_s"]), axis(label, [v for one in shown.values() for v in one.ys])
    return charts.lines(f"{label} over time", x, y, shown)


def gantt(requests: pd.DataFrame) -> list[Figure]:
    """Queue, prefill and decode of each request of one point, from `analysis.load_requests`."""
    sent = requests.dropna(subset=["sent_s"]).sort_values("sent_s")
    columns = ["index", "prompt_id", "outcome", "sent_s", "prefill_s", "first_token_s", "ended_s"]
    sent["ended_s"] = sent["ended_s"].fillna(requests["ended_s"].max())
    rows = sent[columns].astype(object).where(sent[columns].notna(), None).to_dict("records")
    return figures.gantt([timeline.Phases(**{str(name): value for name, value in row.items()}) for row in rows])


def sweep_rows(sweep: pd.DataFrame, knobs: Sequence[str]) -> list[SweepRow]:
    """The variants as the sweep's report knows them, in the frame's order, with the Pareto set and the best marked."""
    rows = [
        SweepRow(
            number,
            {knob: str(values[knob]) for knob in knobs},
            values,
            values["verdict"] == "pass",
            accuracy=str(values["accuracy_status"]),
        )
        for number, values in enumerate(
            {str(key): value for key, value in row.items()} for row in sweep.to_dict("records")
        )
    ]
    mark(rows)
    return rows


def intervals(comparison: pd.DataFrame) -> Figure:
    """Each metric's change from A to B with its interval, from `analysis.compare_runs`; 0 = no difference."""
    hues = {"faster": "green", "slower": "vermillion"}
    percent = 100 * comparison[["low", "high", "change"]].to_numpy()
    x = axis("change from A to B, %", percent.ravel())
    chart = Chart(
        "Change from A to B", x, charts.rows("", len(comparison), comparison["metric"].tolist()), 24 * len(percent)
    )
    chart.line([0.0, 0.0], [-0.5, len(percent) - 0.5], NEUTRAL)
    for place, ((low, high, change), verdict) in enumerate(zip(percent.tolist(), comparison["verdict"], strict=True)):
        hue = hues.get(verdict, NEUTRAL)
        text = f"{verdict}: {change:+.1f} % ({low:+.1f} to {high:+.1f} %)"
        if np.isfinite([low, high]).all():
            chart.bar(low, high, place - 0.1, place + 0.1, hue, text)
        if np.isfinite(change):
            chart.points([change], [place], hue, [text])
    legend = [*hues.items(), ("no evidence", NEUTRAL)]
    return Figure("Change from A to B", chart.render(), "95 % intervals", legend, wide=True)


def compared(pairs: pd.DataFrame, name: str, label: str) -> Figure:
    """A figure of each request in B against the same in A, columns NAME_a and NAME_b; below the line B was faster."""
    known = pairs.dropna(subset=[f"{name}_a", f"{name}_b"])
    a, b = known[f"{name}_a"].tolist(), known[f"{name}_b"].tolist()
    texts = [
        f"request {index}: {one:.4g} in A, {other:.4g} in B"
        for index, one, other in zip(known["index"], a, b, strict=True)
    ]
    x, y = axis(f"{label} in A", [*a, *b]), axis(f"{label} in B", [*a, *b])
    equal = Line([0.0, x.high], [0.0, y.high], NEUTRAL)
    return charts.scatter(
        f"{label}, request by request", x, y, {"requests": Dots(a, b, texts, charts.colour(0))}, line=equal
    )
