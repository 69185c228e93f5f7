"""Writes report.html of a sweep: its best variants, the Pareto set, each knob's effect, and what failed and why."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.charts import number
from harness.pareto import TOLERANCE
from harness.report.page import write_page
from harness.run_folder import REPORT
from harness.sweep.figures import against_throughput, by_knob
from harness.sweep.table import GOALS, RATE, SweepRow

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
        "pareto_figures": against_throughput(rows),
        "effect_figures": by_knob(rows, shown),
        "files": files,
    }


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
        return best.name
    near = (
        f"within {100 * TOLERANCE:g} %"
        if all(row.estimate(goal).close(best.estimate(goal)) for row in tied)
        else "within the noise"
    )
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
        "name": row.name,
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
