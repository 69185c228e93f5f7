"""Writes report.html of a sweep: its best variants, the Pareto set, each knob's effect, and what failed and why."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.report.axis import Axis, axis
from harness.report.figures import Figure
from harness.report.page import write_page
from harness.report.palette import FAILED, colour
from harness.report.svg import Chart
from harness.report.view import number
from harness.run_folder import REPORT
from harness.sweep import plan
from harness.sweep.table import GOALS, LATENCY, RATE, THROUGHPUT, TOLERANCE, Effect, SweepRow, close, effects

COLUMNS = {
    "output tokens/s": "output_tokens_per_s",
    "requests/s": "requests_per_s",
    "total s": "total_time_s",
    "TTFT p50 ms": "ttft_ms_p50",
    "TTFT p99": "ttft_ms_p99",
    "TPOT p50": "tpot_ms_p50",
    "TPOT p99": "tpot_ms_p99",
    "E2EL p50": "e2el_ms_p50",
}
_SPREAD = 10 * TOLERANCE  # least width of an axis: what counts as equal is drawn near
_EFFECTS_ON = {"output_tokens_per_s": "output tokens/s", "ttft_ms_p50": "TTFT p50, ms", "tpot_ms_p50": "TPOT p50, ms"}
_GOALS = {
    "output_tokens_per_s": "most output tokens/s",
    "ttft_ms_p50": "lowest TTFT p50, ms",
    "tpot_ms_p50": "lowest TPOT p50, ms",
    "e2el_ms_p50": "lowest E2EL p50, ms",
    "total_time_s": "least total time, s",
}


def write_sweep_report(sweep_dir: Path, title: str, rows: Sequence[SweepRow], knobs: Sequence[str], files: str) -> Path:
    """Write the page into the sweep's folder, whole or not at all; returns its path."""
    path = sweep_dir / REPORT
    write_page(path, "sweep.html.j2", _content(title, rows, knobs, files))
    return path


def _content(title: str, rows: Sequence[SweepRow], knobs: Sequence[str], files: str) -> dict[str, Any]:
    shown = [*knobs, RATE] if any(RATE in row.knobs for row in rows) and RATE not in knobs else list(knobs)
    passed = sum(row.passed for row in rows)
    return {
        "title": title,
        "summary": f"{passed} of {len(rows)} passed",
        "all_passed": passed == len(rows) > 0,
        "best": _best(rows),
        "tied": any(len([row for row in rows if goal in row.best_at]) > 1 for goal in _GOALS),
        "tolerance": f"{100 * TOLERANCE:g} %",
        "columns": list(COLUMNS),
        "rows": [_row(row, _decided(rows)) for row in rows],
        "pareto_figures": _pareto(rows),
        "effect_figures": [_effect(one) for one in effects(rows, shown, list(_EFFECTS_ON))],
        "files": files,
    }


def variant_name(row: SweepRow) -> str:
    """A row by its knobs: decode=4 block_size=16."""
    overrides = [f"{knob}={value}" for knob, value in row.knobs.items()]
    return plan.variant_name(overrides, list(row.knobs)) or f"variant {row.number}"


def _best(rows: Sequence[SweepRow]) -> list[dict[str, str]]:
    found = []
    for goal, text in _GOALS.items():
        tied = [row for row in rows if goal in row.best_at]
        if tied:
            best = (max if GOALS[goal] else min)(tied, key=lambda row: row.figure(goal))
            found.append({"goal": text, "value": number(best.figure(goal)), "where": _where(tied, best, goal)})
    return found


def _where(tied: Sequence[SweepRow], best: SweepRow, goal: str) -> str:
    """The best variant, or in words that it is one of several."""
    if len(tied) == 1:
        return variant_name(best)
    near = f"within {100 * TOLERANCE:g} %" if all(close(row, best, goal) for row in tied) else "within the noise"
    return f"{len(tied)} variants {near} of the best: call it a tie"


def _decided(rows: Sequence[SweepRow]) -> set[str]:
    """Goals that tell variants apart: not all that passed tie for the best."""
    passed = [row for row in rows if row.passed]
    return {goal for goal in _GOALS if len(passed) == 1 or any(goal not in row.best_at for row in passed)}


def _row(row: SweepRow, decided: set[str]) -> dict[str, Any]:
    figures = (row.figure(name) for name in COLUMNS.values())
    star = "★ " if set(row.best_at) & decided else ""
    return {
        "number": row.number,
        "name": variant_name(row),
        "verdict": _verdict(row),
        "cells": [number(value) if math.isfinite(value) else "–" for value in figures],
        "marks": ("◆ " if row.pareto else "") + star,
        "reason": row.reason,
        "passed": row.passed,
    }


def _verdict(row: SweepRow) -> str:
    if row.passed:
        return "pass" if row.accuracy == "passed" else f"pass ({row.accuracy.replace('_', ' ') or 'unknown'})"
    return "✗ accuracy" if row.accuracy == "failed" else "✗ not run" if row.reason == "not run" else "✗ failed"


def _pareto(rows: Sequence[SweepRow]) -> list[Figure]:
    known = [row for row in rows if math.isfinite(row.figure(LATENCY)) and math.isfinite(row.figure(THROUGHPUT))]
    if not known:
        return []
    x = axis("output tokens/s", [row.figure(THROUGHPUT) for row in known], zero=False, spread=_SPREAD)
    y = axis("E2EL p50, ms", [row.figure(LATENCY) for row in known], zero=False, log=None, spread=_SPREAD)
    chart = Chart("Latency against throughput", x, y)
    groups = {
        "Pareto set": [row for row in known if row.pareto],
        "passed": [row for row in known if row.passed and not row.pareto],
        "accuracy failed": [row for row in known if not row.passed and row.accuracy == "failed"],
        "failed": [row for row in known if not row.passed and row.accuracy != "failed"],
    }
    hues = {"Pareto set": colour(0), "passed": "grey", "accuracy failed": FAILED, "failed": "purple"}
    front = _edge(groups["Pareto set"])
    chart.line([row.figure(THROUGHPUT) for row in front], [row.figure(LATENCY) for row in front], colour(0))
    for name, group in groups.items():
        draw = chart.crosses if "failed" in name else chart.points
        xs, ys = ([row.figure(key) for row in group] for key in (THROUGHPUT, LATENCY))
        draw(xs, ys, hues[name], [variant_name(row) for row in group])
    legend = [(name, hues[name]) for name, group in groups.items() if group]
    return [Figure("Median E2EL against output tokens/s", chart.render(), "right and low is better", legend)]


def _edge(pareto: Sequence[SweepRow]) -> list[SweepRow]:
    """From the highest throughput down, each with a lower latency than those before: the set without what ties."""
    edge: list[SweepRow] = []
    for row in sorted(pareto, key=lambda row: (-row.figure(THROUGHPUT), row.figure(LATENCY))):
        if not edge or row.figure(LATENCY) < edge[-1].figure(LATENCY):
            edge.append(row)
    return edge


def _effect(effect: Effect) -> Figure:
    names = effect.values
    x = Axis(effect.knob, -0.5, len(names) - 0.5)
    label = _EFFECTS_ON[effect.metric]
    chart = Chart(f"{label} by {effect.knob}", x, axis(label, effect.means), x_names=names)
    for place, mean in enumerate(effect.means):
        chart.bar(place - 0.3, place + 0.3, 0.0, mean, colour(0), f"{names[place]}: {number(mean)}")
    better = "more" if GOALS[effect.metric] else "less"
    short = effect.knob.rpartition(".")[2]
    size = f"×{effect.ratio:.2f} between" if effect.ratio > 1 + TOLERANCE else f"equal within {100 * TOLERANCE:g} %"
    return Figure(f"{label} by {short}", chart.render(), f"{better} is better; {size}")
