"""What a run found, on its way to files, MLflow and the terminal. It measures nothing."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console

from harness import metrics, report
from harness.config import HarnessConfig
from harness.logits_task import LogitsResult
from harness.report import PointView, RunView, Verdict
from harness.run_info import RunInfo
from harness.timed import Point
from harness.tracked import tracked_run
from harness.tracking.errors import TrackingFailed
from harness.tracking.tracker import Tracker


class Results:
    """Gathers points and the logits result; `conclude` gives them out once."""

    def __init__(self, config: HarnessConfig, info: RunInfo, tracker: Tracker | None, console: Console) -> None:
        self.points: list[Point] = []
        self.logits: LogitsResult | None = None
        self._config = config
        self._info = info
        self._tracker = tracker
        self._console = console
        self._passed: bool | None = None

    def conclude(self, incomplete_reason: str) -> bool:
        """Write metrics.json, send the run to MLflow, print the table. Returns whether the verdict is a pass."""
        if self._passed is not None:
            return self._passed
        verdict = self._judge(incomplete_reason)
        self._passed = verdict.passed
        row = self._flat(verdict, incomplete_reason)
        write_metrics(self._info.run_dir / "metrics.json", row)
        self._track(verdict, row)
        report.print_verdict(self._view(verdict), self._console)
        return verdict.passed

    def _judge(self, incomplete_reason: str) -> Verdict:
        verdict = report.judge(
            {label(point): metrics.flat(point.metrics) for point in self.points},
            self.logits.metrics if self.logits else None,
            accuracy_wanted=self._config.accuracy.enabled,
            min_pass_rate=self._config.accuracy.min_pass_rate,
            incomplete_reason=incomplete_reason,
        )
        for point in self.points:
            commonest = sorted(point.errors.items(), key=lambda item: -item[1])[:3]
            verdict.reasons += [f"{count} x {text}" for text, count in commonest]
        if self.logits and self.logits.problems:
            verdict.reasons += self.logits.problems
            verdict.passed = False
        return verdict

    def _flat(self, verdict: Verdict, incomplete_reason: str) -> dict[str, Any]:
        """All figures under flat names: of the only point; of several, what can be added up."""
        rows = [metrics.flat(point.metrics) for point in self.points] or [metrics.flat(metrics.Metrics())]
        row = rows[0]
        if len(rows) > 1:
            counts = [name for name, value in row.items() if isinstance(value, int)]
            row = {name: sum(each[name] for each in rows) for name in counts}
        if self.points:
            row |= {"schedule_hash": self.points[0].schedule.hash, "prompts_hash": self.points[0].prompts_hash}
        if self.logits and self.logits.metrics:
            row |= asdict(self.logits.metrics)
        row |= verdict.as_metrics() | {"config_digest": self._info.config_digest}
        return row | {"complete": not incomplete_reason, "incomplete_reason": incomplete_reason}

    def _track(self, verdict: Verdict, row: dict[str, Any]) -> None:
        if self._tracker is None:
            return
        run = tracked_run(self._config, self._info, self.points, verdict, row)
        try:
            if self._info.sweep_dir:
                run.parent_run_id = self._tracker.sweep_parent(self._info.sweep_dir, self._info.name)
            self._tracker.log_run(self._info.run_dir, run)
        except TrackingFailed as error:
            self._console.print(f"warning: {error}", style="yellow", markup=False, soft_wrap=True)

    def _view(self, verdict: Verdict) -> RunView:
        return RunView(
            title=f"{self._info.name}: {self._info.title}",
            verdict=verdict,
            points=[PointView(label(point), metrics.flat(point.metrics)) for point in self.points],
            accuracy=self.logits.metrics if self.logits else None,
            files=str(shown(self._info.run_dir)),
            ui=self._tracker.ui_command if self._tracker else "",
        )


def write_metrics(path: Path, row: dict[str, Any]) -> None:
    """Write flat figures as JSON, whole or not at all."""
    partial = path.with_suffix(".part")
    partial.write_bytes(orjson.dumps(row, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    partial.replace(path)


def label(point: Point) -> str:
    """A point in words."""
    process = point.schedule.process
    if process == "closed":
        return f"closed loop, {point.schedule.concurrency} in flight"
    return f"{point.rate:g} requests/s, {process}"


def shown(path: Path) -> Path:
    """A path as short as it can be said here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
