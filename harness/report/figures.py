"""The charts of one run: what is drawn of requests, load points, steps and logits rows. It computes no figures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.measure import samples, timeline, window_series
from harness.records import Outcome, RequestRecord
from harness.report.axis import Axis, axis
from harness.report.fluid import FluidBars
from harness.report.palette import FAILED, PHASES, colour, dash
from harness.report.svg import Chart
from harness.report.view import PointView, number

LATENCIES = {"TTFT": "ttft_ms", "TPOT": "tpot_ms", "ITL": "itl_ms", "E2EL": "e2el_ms"}
MEANINGS = {
    "TTFT": "scheduled time to first token",
    "TPOT": "mean time per output token after the first",
    "ITL": "gap between successive tokens",
    "E2EL": "scheduled time to last token",
}
GANTT_ROWS = 400  # a page with more bars than pixels helps nobody
_ECDF_POINTS = 200


@dataclass
class Figure:
    """One chart with its words. `legend`: name and colour of each series."""

    title: str
    svg: str
    note: str = ""
    legend: list[tuple[str, str]] = field(default_factory=list)
    wide: bool = False


def latency_ecdfs(points: Sequence[PointView]) -> list[Figure]:
    """Share of samples at or below each latency, one line per point; nothing without finished requests."""
    found = []
    all_samples = [samples.latencies(_finished(point.records)) for point in points]
    for name, key in LATENCIES.items():
        values = [np.sort(np.concatenate(groups[key])) if groups[key] else np.empty(0) for groups in all_samples]
        if not any(len(one) for one in values):
            continue
        x = axis(f"{name}, ms", np.concatenate(values), log=None)
        chart = Chart(f"{name}: share of samples at or below", x, Axis("share of samples", 0.0, 1.0))
        for order, one in enumerate(values):
            if len(one):
                chart.line(*_ecdf(one), colour(order), dash(order))
        counts = " / ".join(f"{len(one):,}" for one in values)
        found.append(Figure(name, chart.render(), f"{MEANINGS[name]}; {counts} samples", _legend(points)))
    return found


def over_time(point: PointView) -> list[Figure]:
    """Throughput and numbers of requests along the window of one point."""
    every_s = window_series.drawn_interval_s(point.records)
    series = {one.name: one for one in window_series.of_requests(point.records, every_s)}
    if not series:
        return []
    tokens = series["output_tokens_per_s"].values
    middle = series["output_tokens_per_s"].times_s - every_s / 2
    x = axis("time since the start, s", [0.0, middle[-1] + every_s / 2])
    chart = Chart("Output tokens per second over time", x, axis("output tokens/s", tokens))
    chart.line(middle.tolist(), tokens.tolist(), colour(0))
    every = f"per {number(every_s)} s"
    found = [Figure("Throughput over time", chart.render(), every)]
    shown = {"waiting for the first token": "requests_waiting", "decoding": "requests_decoding"}
    values = {name: series[key].values for name, key in shown.items()}
    chart = Chart("Requests over time", x, axis("requests", np.concatenate(list(values.values()))))
    for (name, ys), hue in zip(values.items(), (PHASES["queue"], PHASES["decode"]), strict=True):
        chart.line(middle.tolist(), ys.tolist(), hue, dash(list(values).index(name)))
    legend = list(zip(shown, (PHASES["queue"], PHASES["decode"]), strict=True))
    return [*found, Figure("Occupancy over time", chart.render(), f"mean number of requests {every}", legend)]


def gantt(point: PointView) -> list[Figure]:
    """A line per request: queue, prefill, decode; those that did not finish are marked."""
    every = timeline.phases(point.records)
    if not every:
        return []
    keep = np.unique(np.linspace(0, len(every) - 1, min(len(every), GANTT_ROWS)).astype(int))
    rows = [every[row] for row in keep]
    height = max(120, min(620, 9 * len(rows)))
    x = axis("time since the start, s", [0.0, max(row.ended_s for row in rows)])
    chart = FluidBars("Timeline of requests", x, "requests", len(rows), height)
    for place, row in enumerate(rows):
        _gantt_row(chart, place, row)
    timed = any(row.prefill_s is not None for row in rows)
    legend = [("queue" if timed else "until the first token", PHASES["queue"])]
    legend += [("prefill", PHASES["prefill"])] if timed else []
    legend.append(("decode", PHASES["decode"]))
    if any(row.outcome != Outcome.finished for row in rows):
        legend.append(("did not finish", FAILED))
    shown = "a line each" if len(rows) == len(every) else f"{len(rows)} of {len(every):,} requests, evenly chosen"
    note = f"{shown}, in order of sending"
    return [Figure("Timeline of requests", chart.render(), note, legend, wide=True)]


def _gantt_row(chart: FluidBars, place: int, row: timeline.Phases) -> None:
    begun = row.ended_s if row.first_token_s is None else row.first_token_s
    queued_until = begun if row.prefill_s is None else min(row.prefill_s, begun)
    text = f"{row.prompt_id} ({row.outcome}): sent at {row.sent_s:.3f} s, ended at {row.ended_s:.3f} s"
    chart.bar(place, row.sent_s, queued_until, PHASES["queue"], text)
    if row.prefill_s is not None and begun > queued_until:
        chart.bar(place, queued_until, begun, PHASES["prefill"], text)
    if row.first_token_s is not None:
        chart.bar(place, begun, row.ended_s, PHASES["decode"], text)
    if row.outcome != Outcome.finished:
        chart.cross(place, row.ended_s, FAILED, text)


def against_rate(points: Sequence[PointView]) -> list[Figure]:
    """Latency and throughput against the asked rate, where there are at least two rates."""
    known = sorted((point for point in points if point.rate is not None), key=lambda point: point.rate or 0.0)
    rates = [point.rate or 0.0 for point in known]
    if len(set(rates)) < 2:
        return []
    x = axis("requests/s asked for", rates)
    found = []
    for name in ("TTFT", "TPOT", "E2EL"):
        lines = {p: _metric(known, f"{LATENCIES[name]}_{p}") for p in ("p50", "p90", "p99")}
        lines = {p: values for p, values in lines.items() if any(map(math.isfinite, values))}
        if lines:
            label = f"{name} against rate"
            y = axis(f"{name}, ms", [v for values in lines.values() for v in values], log=None)
            found.append(_lines(label, x, y, rates, lines))
    achieved = {"achieved": _metric(known, "requests_per_s"), "asked for": rates}
    y = axis("requests/s finished", [*achieved["achieved"], *rates])
    found.append(_lines("Throughput against rate", x, y, rates, achieved))
    return found


def _lines(title: str, x: Axis, y: Axis, xs: Sequence[float], lines: Mapping[str, Sequence[float]]) -> Figure:
    chart = Chart(title, x, y)
    for order, (name, ys) in enumerate(lines.items()):
        known = [(a, b) for a, b in zip(xs, ys, strict=True) if math.isfinite(b)]
        chart.line([a for a, _ in known], [b for _, b in known], colour(order), dash(order))
        tips = [f"{name}: {number(b)} at {number(a)}" for a, b in known]
        chart.points([a for a, _ in known], [b for _, b in known], colour(order), tips)
    return Figure(title, chart.render(), legend=[(name, colour(order)) for order, name in enumerate(lines)])


def step_times(steps: Mapping[str, Mapping[str, float]]) -> list[Figure]:
    """Medians of a step's parts in ms, by kind of step: as bars one after the other."""
    if not steps:
        return []
    kinds = list(steps)
    parts = list(dict.fromkeys(part for of_kind in steps.values() for part in of_kind))
    longest = max(sum(of_kind.values()) for of_kind in steps.values())
    x, y = axis("median, ms", [0.0, longest]), Axis("", -0.6, len(kinds) - 0.4)
    chart = Chart("Parts of a step", x, y, height=190, y_names=kinds)
    for row, of_kind in enumerate(steps.values()):
        start = 0.0
        for order, part in enumerate(parts):
            width = of_kind.get(part, 0.0)
            text = f"{kinds[row]}, {part.replace('_', ' ')}: {number(width)} ms"
            chart.bar(start, start + width, row - 0.3, row + 0.3, colour(order), text)
            start += width
    legend = [(part.replace("_", " "), colour(order)) for order, part in enumerate(parts)]
    note = "medians of each part; parts of pipelined steps overlap, so their sum may exceed the step"
    return [Figure("Parts of a step", chart.render(), note, legend)]


def accuracy_rows(rows: Mapping[str, NDArray[np.float64]], atol: float | None) -> list[Figure]:
    """Largest difference of each logits row against its position, and against the batch it was computed in."""
    found = []
    for key, label in (("position", "position in the sequence"), ("occupancy", "sequences in the step")):
        if key not in rows:
            continue
        known = np.isfinite(rows["max_abs_diff"]) & np.isfinite(rows[key])
        xs, ys, passed = rows[key][known], rows["max_abs_diff"][known], rows["passed"][known] > 0
        if not len(xs):
            continue
        limit = [atol] if atol else []
        smallest = min((value for value in [*ys, *limit] if value > 0), default=1.0)
        shown = np.maximum(ys, smallest / 10)  # a logarithmic axis has no 0
        y = axis("largest |difference|", [*shown, *limit], log=True)
        chart = Chart(f"Logits difference by {key}", axis(label, xs, zero=key != "position"), y)
        chart.points(xs[passed].tolist(), shown[passed].tolist(), colour(0))
        chart.crosses(xs[~passed].tolist(), shown[~passed].tolist(), FAILED)
        if atol:
            chart.level(atol, f"atol {atol:g}")
        legend = [("all-close", colour(0))] + ([("not", FAILED)] if not passed.all() else [])
        note = "exact rows are drawn at the lower edge" if (ys == 0).any() else ""
        found.append(Figure(f"Accuracy by {key}", chart.render(), note, legend))
    return found


def _finished(records: Iterable[RequestRecord]) -> list[RequestRecord]:
    return [record for record in records if record.outcome is Outcome.finished]


def _ecdf(values: NDArray[np.float64]) -> tuple[list[float], list[float]]:
    """Steps of the empirical distribution, thinned where they are closer than can be seen."""
    shares = np.arange(1, len(values) + 1) / len(values)
    keep = np.unique(np.linspace(0, len(values) - 1, min(len(values), _ECDF_POINTS)).astype(int))
    xs = np.repeat(values[keep], 2)
    ys = np.concatenate([[0.0], np.repeat(shares[keep], 2)[:-1]])
    return xs.tolist(), ys.tolist()


def _legend(points: Sequence[PointView]) -> list[tuple[str, str]]:
    return [(point.label, colour(order)) for order, point in enumerate(points)] if len(points) > 1 else []


def _metric(points: Sequence[PointView], name: str) -> list[float]:
    values = [point.metrics.get(name) for point in points]
    return [float(value) if isinstance(value, int | float) else math.nan for value in values]
