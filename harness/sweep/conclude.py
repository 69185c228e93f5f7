"""Ends a sweep: its report, its table, and the parent run in MLflow that its variants hang under."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from harness import whole_file
from harness.run_folder import SWEEP, SWEEP_TABLE
from harness.sweep import collect
from harness.sweep import plan as plans
from harness.sweep.page import write_sweep_report
from harness.sweep.table import GOALS, SweepRow
from harness.sweep.variant import read_all
from harness.tracking.errors import NotTracked, TrackingFailed
from harness.tracking.tracked_run import RunStatus, TrackedRun, load, parent_name, save
from harness.tracking.tracker import Tracker


def conclude(sweep_dir: Path, tracker: Tracker | None, interrupted: bool, console: Console) -> int:
    """Write the sweep's files, end its parent run, say where everything is. Returns the worst exit status."""
    plan = plans.load(sweep_dir)
    if plan is None:
        return 0
    results = read_all(sweep_dir)
    worst = max((result.exit_status for result in results.values()), default=0)
    missing = len(plan.variants) - len(results)
    rows = collect.rows(sweep_dir, plan)
    report = write_sweep_report(
        sweep_dir, f"{plan.name}: sweep over {', '.join(plan.knobs)}", rows, plan.knobs, str(sweep_dir)
    )
    _write_table(sweep_dir / SWEEP_TABLE, rows)
    plans.save(sweep_dir, replace(plan, ended="interrupted" if interrupted or missing > 0 else "finished"))
    failed = interrupted or worst > 0
    parent = TrackedRun(
        name=parent_name(plan.name, sweep_dir),
        started_ms=0,
        ended_ms=round(time.time() * 1e3),
        status=RunStatus.killed if interrupted else RunStatus.failed if failed else RunStatus.finished,
        params={"sweep.knobs": ", ".join(plan.knobs), "sweep.variants": str(len(rows))},
        metrics=_best(rows),
        tags={"kind": "sweep", "verdict": "fail" if failed else "pass"},
        note=_note(rows),
        artifacts=[report.name, SWEEP_TABLE, SWEEP],
    )
    if tracker is not None:
        save(sweep_dir, parent)
        try:
            _send_late(tracker, results)
            tracker.close_sweep(sweep_dir, parent)
        except TrackingFailed as error:
            console.print(f"warning: {error}", style="yellow", markup=False, soft_wrap=True)
    console.print(f"sweep: report {report}", markup=False, soft_wrap=True, highlight=False)
    return worst


def _best(rows: Sequence[SweepRow]) -> dict[str, float]:
    """The best value of each goal among the variants that passed, as best_NAME, and counts."""
    best = {
        f"best_{goal}": (max if more else min)(values)
        for goal, more in GOALS.items()
        if (values := [row.figure(goal) for row in rows if row.passed and math.isfinite(row.figure(goal))])
    }
    return best | {"variants_passed": float(sum(row.passed for row in rows)), "variants": float(len(rows))}


def _note(rows: Sequence[SweepRow]) -> str:
    """Markdown: the variants worth looking at, and those that failed."""
    lines = [f"**{sum(row.passed for row in rows)} of {len(rows)} variants passed.**", ""]
    for row in rows:
        if row.best_at or row.pareto:
            figures = f"{row.figure('output_tokens_per_s'):.4g} tokens/s, E2EL p50 {row.figure('e2el_ms_p50'):.4g} ms"
            lines.append(f"- `{row.name}`: {figures}" + (" (Pareto set)" if row.pareto else ""))
    failed = [f"- ✗ `{row.name}`: {row.reason}" for row in rows if not row.passed]
    return "\n".join([*lines, *([""] if failed else []), *failed])


def _send_late(tracker: Tracker, run_dirs: Iterable[Path]) -> None:
    """Send the variants that ended while the store was out of reach; nothing is sent twice. Raises TrackingFailed."""
    for run_dir in run_dirs:
        with suppress(NotTracked):
            tracker.upload(run_dir, load(run_dir))


def _write_table(path: Path, rows: Sequence[SweepRow]) -> None:
    """All rows as JSON, for those who want to go on from them."""
    content = [
        {
            "number": row.number,
            **row.knobs,
            "passed": row.passed,
            "pareto": row.pareto,
            "reason": row.reason,
            "accuracy_status": row.accuracy,
            "folder": row.folder,
            **{goal: value if math.isfinite(value := row.figure(goal)) else None for goal in GOALS},
        }
        for row in rows
    ]
    whole_file.write_json(path, content)
