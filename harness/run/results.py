"""What a run found, on its way to files, MLflow and the terminal. It measures nothing."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from harness import report, run_folder, whole_file
from harness.accuracy.task import LogitsResult
from harness.config import HarnessConfig
from harness.measure import metrics, window_series
from harness.measure.checks import Check
from harness.report import AccuracyStatus, PointView, RunView, Verdict
from harness.run.environment import environment
from harness.run.info import RunInfo
from harness.run.search import SearchResult
from harness.run.timed_point import Point
from harness.run.tracked import ROOT, tracked_run
from harness.tracking.errors import TrackingFailed
from harness.tracking.tracked_run import parent_name
from harness.tracking.tracker import Tracker


class Results:
    """Gathers points and the logits result; `conclude` gives them out once."""

    def __init__(self, config: HarnessConfig, info: RunInfo, tracker: Tracker | None, console: Console) -> None:
        self.points: list[Point] = []
        self.logits: LogitsResult | None = None
        self.search: SearchResult | None = None
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
        whole_file.write_json(self._info.run_dir / run_folder.METRICS, row)
        for point in self.points:
            window_series.write(point.folder, point.load.records, point.folder / run_folder.TELEMETRY)
            if point.folder != self._info.run_dir:
                whole_file.write_json(point.folder / run_folder.METRICS, _point_row(point, verdict))
        view = self._view(verdict)
        report.write_report(self._info.run_dir / run_folder.REPORT, view)
        self._track(verdict, row, report.note(view))
        report.print_verdict(view, self._console)
        return verdict.passed

    def _judge(self, incomplete_reason: str) -> Verdict:
        verdict = report.judge(
            {label(point): metrics.flat(point.metrics) for point in self._judged()},
            self.logits.metrics if self.logits else None,
            accuracy_wanted=self._config.accuracy.enabled,
            min_pass_rate=self._config.accuracy.min_pass_rate,
            bit_exact=self._config.accuracy.bit_exact,
            incomplete_reason=incomplete_reason,
        )
        if self.search and self.search.rate is None and not incomplete_reason:
            verdict.reasons.append(self.search.text)
            verdict.passed = False
        for point in self.points:
            commonest = sorted(point.errors.items(), key=lambda item: -item[1])[:3]
            verdict.reasons += [f"{count} x {text}" for text, count in commonest]
        if self.logits and self.logits.problems:
            verdict.reasons += self.logits.problems
            verdict.passed = False
            verdict.accuracy = AccuracyStatus.failed
        return verdict

    def _judged(self) -> list[Point]:
        """The points whose requests must all finish: in a search, a rate beyond the one found may be refused some."""
        if self.search is None:
            return self.points
        found = self.search.rate or 0.0
        return [point for point in self.points if point.rate <= found or point.unexplained]

    def _distrust(self) -> list[str]:
        """Every point's reasons; of several points one of each kind, which says whose it is and how many are alike."""
        if len(self.points) == 1:
            return [reason.text for reason in self.points[0].distrust]
        texts: dict[Check, list[str]] = {}
        for point in self.points:
            for reason in point.distrust:
                texts.setdefault(reason.check, []).append(f"{label(point)}: {reason.text}")
        return [
            alike[0] + (f" (and {len(alike) - 1} more such reasons at other points)" if len(alike) > 1 else "")
            for alike in texts.values()
        ]

    def _flat(self, verdict: Verdict, incomplete_reason: str) -> dict[str, Any]:
        """All figures under flat names: of the only point; of several, what can be added up."""
        rows = [metrics.flat(point.metrics) for point in self.points] or [metrics.flat(metrics.Metrics())]
        row = rows[0]
        if len(rows) > 1:
            counts = [name for name in row if all(isinstance(each.get(name), int) for each in rows)]
            row = {name: sum(each[name] for each in rows) for name in counts}
        row["distrust"] = self._distrust()
        if self.search:
            row |= self.search.as_metrics()
        if self.points:
            row |= {"schedule_hash": self.points[0].schedule.hash, "prompts_hash": self.points[0].prompts_hash}
        if self.logits and self.logits.metrics:
            row |= asdict(self.logits.metrics)
        row |= verdict.as_metrics() | {"config_digest": self._info.config_digest}
        return row | {"complete": not incomplete_reason, "incomplete_reason": incomplete_reason}

    def _track(self, verdict: Verdict, row: dict[str, Any], note: str) -> None:
        if self._tracker is None:
            return
        run = tracked_run(self._config, self._info, self.points, verdict, row, note)
        if self._info.sweep_dir:
            run.sweep_name = parent_name(self._info.name, self._info.sweep_dir)
        try:
            self._tracker.log_run(self._info.run_dir, run)
        except TrackingFailed as error:
            self._console.print(f"warning: {error}", style="yellow", markup=False, soft_wrap=True)

    def _view(self, verdict: Verdict) -> RunView:
        return RunView(
            title=f"{self._info.name}: {self._info.title}",
            verdict=verdict,
            points=[_point_view(point) for point in self.points],
            accuracy=self.logits.metrics if self.logits else None,
            bit_exact=self._config.accuracy.bit_exact,
            distrust=self._distrust(),
            finding=self.search.text if self.search else "",
            slo=self._config.workload.search.slo if self.search else "",
            files=str(shown(self._info.run_dir)),
            ui=self._tracker.ui_command if self._tracker else "",
            run_dir=self._info.run_dir,
            params=self._info.params | environment(ROOT),
        )


def _point_row(point: Point, verdict: Verdict) -> dict[str, Any]:
    """A point's own figures, and what is known of the logits of the server that it timed."""
    return metrics.flat(point.metrics) | {"rate": point.rate, "accuracy_status": verdict.accuracy.value}


def _point_view(point: Point) -> PointView:
    rate = None if point.schedule.process == "closed" else point.rate
    return PointView(label(point), metrics.flat(point.metrics), rate, point.load.records, point.folder)


def write_search(path: Path, found: SearchResult) -> None:
    """Write what a search knows so far, rate by rate, whole or not at all."""
    whole_file.write_json(path, {**found.as_metrics(), "steps": [asdict(step) for step in found.steps]})


def label(point: Point) -> str:
    """A point in words."""
    process = point.schedule.process
    if point.window:
        return f"{point.rate:.4g}/s #{point.window}"
    if process == "closed":
        return f"closed loop, {point.schedule.concurrency} in flight"
    return f"{point.rate:g} requests/s, {process}"


def shown(path: Path) -> Path:
    """A path as short as it can be said here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
