"""The charts of a run's requests: latencies, their course over time, and against the rate. It computes no figures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from harness.charts import FAILED, PHASES, Figure, Line, Span, axis, ecdf, lines, number, spans
from harness.measure import samples, timeline, window_series
from harness.records import Outcome, RequestRecord
from harness.report.table import LATENCIES
from harness.report.view import PointView

MEANINGS = {
    "TTFT": "scheduled time to first token",
    "TPOT": "mean time per output token after the first",
    "ITL": "gap between successive tokens",
    "E2EL": "scheduled time to last token",
}
GANTT_ROWS = 400  # a page with more bars than pixels helps nobody


def latency_ecdfs(points: Sequence[PointView]) -> list[Figure]:
    """Share of samples at or below each latency, one line per point; nothing without finished requests."""
    figures = []
    all_samples = {point.label: samples.latencies(_finished(point.records)) for point in points}
    for name, key in LATENCIES.items():
        values = {
            label: np.concatenate(groups[key]) if groups[key] else np.empty(0) for label, groups in all_samples.items()
        }
        if any(len(one) for one in values.values()):
            counts = " / ".join(f"{len(one):,}" for one in values.values())
            figures.append(ecdf(name, f"{name}, ms", values, f"{MEANINGS[name]}; {counts} samples"))
    return figures


def over_time(point: PointView) -> list[Figure]:
    """Throughput and numbers of requests along the window of one point."""
    every_s = window_series.drawn_interval_s(point.records)
    series = {one.name: one for one in window_series.of_requests(point.records, every_s)}
    if not series:
        return []
    ends_s, tokens = series["output_tokens_per_s"].times_s, series["output_tokens_per_s"].values
    middle = ends_s - every_s / 2
    x = axis("time since the start, s", [0.0, ends_s[-1]])
    every = f"per {number(every_s)} s"
    held = {
        "waiting for the first token": Line(middle, series["requests_waiting"].values, PHASES["queue"]),
        "decoding": Line(middle, series["requests_decoding"].values, PHASES["decode"]),
    }
    y = axis("requests", np.concatenate([line.ys for line in held.values()]))
    return [
        lines("Throughput over time", x, axis("output tokens/s", tokens), {"tokens/s": Line(middle, tokens)}, every),
        lines("Occupancy over time", x, y, held, f"mean number of requests {every}"),
    ]


def gantt(every: Sequence[timeline.Phases]) -> list[Figure]:
    """A line per request: queue, prefill, decode; those that did not finish are marked."""
    if not every:
        return []
    keep = np.unique(np.linspace(0, len(every) - 1, min(len(every), GANTT_ROWS)).astype(int))
    rows = [every[row] for row in keep]
    x = axis("time since the start, s", [0.0, max(row.ended_s for row in rows)])
    timed = any(row.prefill_s is not None for row in rows)
    legend = [("queue" if timed else "until the first token", PHASES["queue"])]
    legend += [("prefill", PHASES["prefill"])] if timed else []
    legend.append(("decode", PHASES["decode"]))
    if any(row.outcome != Outcome.finished for row in rows):
        legend.append(("did not finish", FAILED))
    shown = "a line each" if len(rows) == len(every) else f"{len(rows)} of {len(every):,} requests, evenly chosen"
    height = max(120, min(620, 9 * len(rows)))
    return [
        spans(
            "Timeline of requests", x, list(map(_gantt_row, rows)), legend, f"{shown}, in order of sending",
            label="requests", height=height, wide=True,
        )
    ]  # fmt: skip


def _gantt_row(row: timeline.Phases) -> list[Span]:
    begun = row.ended_s if row.first_token_s is None else row.first_token_s
    queued_until = begun if row.prefill_s is None else min(row.prefill_s, begun)
    text = f"{row.prompt_id} ({row.outcome}): sent at {row.sent_s:.3f} s, ended at {row.ended_s:.3f} s"
    bars = [Span(row.sent_s, queued_until, PHASES["queue"], text)]
    if row.prefill_s is not None and begun > queued_until:
        bars.append(Span(queued_until, begun, PHASES["prefill"], text))
    if row.first_token_s is not None:
        bars.append(Span(begun, row.ended_s, PHASES["decode"], text))
    return [*bars[:-1], replace(bars[-1], failed=row.outcome != Outcome.finished)]


def against_rate(points: Sequence[PointView]) -> list[Figure]:
    """Latency and throughput against the asked rate, where there are at least two rates."""
    known = sorted((point for point in points if point.rate is not None), key=lambda point: point.rate or 0.0)
    rates = [point.rate or 0.0 for point in known]
    if len(set(rates)) < 2:
        return []
    x = axis("requests/s asked for", rates)
    figures = []
    for name in ("TTFT", "TPOT", "E2EL"):
        of_name = {p: _with_interval(known, rates, f"{LATENCIES[name]}_{p}") for p in ("p50", "p90", "p99")}
        series = {p: line for p, line in of_name.items() if any(map(math.isfinite, line.ys))}
        if series:
            y = axis(f"{name}, ms", [v for line in series.values() for v in (*line.ys, *line.high)], log=None)
            figures.append(lines(f"{name} against rate", x, y, series, "bands are 95 % intervals", dots=True))
    achieved = _metric(known, "requests_per_s")
    series = {"achieved": Line(rates, achieved), "asked for": Line(rates, rates)}
    y = axis("requests/s finished", [*achieved, *rates])
    return [*figures, lines("Throughput against rate", x, y, series, dots=True)]


def _finished(records: Iterable[RequestRecord]) -> list[RequestRecord]:
    return [record for record in records if record.outcome is Outcome.finished]


def _with_interval(points: Sequence[PointView], rates: Sequence[float], name: str) -> Line:
    low, high = (_metric(points, f"{name}_ci95_{side}") for side in ("low", "high"))
    return Line(rates, _metric(points, name), low=low, high=high)


def _metric(points: Sequence[PointView], name: str) -> list[float]:
    values = [point.metrics.get(name) for point in points]
    return [float(value) if isinstance(value, int | float) else math.nan for value in values]
