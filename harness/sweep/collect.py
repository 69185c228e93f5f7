"""Reads a sweep's folder into rows. A variant without readable figures is a row that says so."""

from __future__ import annotations

from pathlib import Path

from harness.run_folder import METRICS, metrics_of, point_folders
from harness.sweep import variant
from harness.sweep.plan import SweepPlan
from harness.sweep.table import RATE, SweepRow, mark
from harness.sweep.variant import VariantResult


def rows(sweep_dir: Path, plan: SweepPlan) -> list[SweepRow]:
    """A row per timed point of every variant that has ended, marked; then one per planned variant that has not."""
    ended = variant.read_all(sweep_dir)
    found = [row for folder, result in ended.items() for row in _rows(sweep_dir, folder, result, plan.knobs)]
    known = {result.number for result in ended.values()}
    for number, planned in enumerate(plan.variants):
        if number not in known:
            found.append(SweepRow(number, _knobs(planned.overrides, plan.knobs), {}, False, "not run"))
    mark(found)
    return found


def _rows(sweep_dir: Path, folder: Path, result: VariantResult, knobs: list[str]) -> list[SweepRow]:
    whole = metrics_of(folder)
    points = [(point, metrics_of(point)) for point in point_folders(folder) if (point / METRICS).exists()]
    reason = result.reason or ("" if result.exit_status == 0 else str(whole.get("verdict_reasons") or "failed"))
    accuracy = str(whole.get("accuracy_status", ""))
    found = []
    for where, metrics in points or [(folder, whole)]:
        values = _knobs(result.overrides, knobs)
        if points:
            values[RATE] = f"{metrics.get('rate', 0):g}"
        passed = result.exit_status == 0
        name = str(where.relative_to(sweep_dir))
        found.append(SweepRow(result.number, values, metrics, passed, reason, accuracy, name))
    return found


def _knobs(overrides: list[str], knobs: list[str]) -> dict[str, str]:
    pairs = (override.lstrip("+~").partition("=") for override in overrides)
    values = {key: value for key, _, value in pairs}
    return {knob: values.get(knob, "") for knob in knobs}
