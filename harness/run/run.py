"""One run from a ready server to a verdict: timed points, logits task, reference, then files, MLflow and table.

Whatever ends it early, what was gathered is written and tracked, marked incomplete.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from rich.console import Console

from harness import run_folder
from harness.accuracy import reference, task
from harness.accuracy.errors import UnusableInput
from harness.accuracy.legacy import export_legacy
from harness.accuracy.manifest import add_to_manifest
from harness.accuracy.rows_file import write_rows
from harness.accuracy.task import LogitsResult
from harness.config import HarnessConfig, SearchMode
from harness.load import arrivals, prompts
from harness.load.arrivals import Schedule
from harness.load.generator import INTERRUPTED, LoadProgress, OnProgress
from harness.load.prompts import PromptSource
from harness.run import search, timed_point
from harness.run.info import RunInfo
from harness.run.progress import Display
from harness.run.results import Results, write_search
from harness.run.timed_point import Point
from harness.run.work import Work
from harness.server import Server, ServerError
from harness.tracking.tracker import Tracker

EXIT_OK = 0
EXIT_VERDICT = 1
EXIT_SERVER = 3
EXIT_INTERRUPTED = 130

_LINES_EVERY_S = 10.0  # where there is no terminal to redraw a line on


class Run:
    """Gathers results and concludes exactly once, however it ends."""

    def __init__(
        self, config: HarnessConfig, work: Work, info: RunInfo, tracker: Tracker | None, console: Console
    ) -> None:
        self._config = config
        self._work = work
        self._info = info
        self._console = console
        self._results = Results(config, info, tracker, console)

    def measure(self, server: Server) -> int:
        """Time every point, check the logits of the same processes, and conclude. Returns the exit status."""
        self._time(server)
        last = self._results.points[-1]
        if not last.complete:
            reason = last.load.incomplete_reason
            return self.abandon(reason, EXIT_INTERRUPTED if reason == INTERRUPTED else EXIT_SERVER)
        if self._work.logits_prompts is not None:
            self._results.logits = self._check(server, self._work.logits_prompts)
        server.stop()
        return EXIT_OK if self._results.conclude("") else EXIT_VERDICT

    def abandon(self, reason: str, status: int) -> int:
        """Keep and track what was gathered, marked incomplete; returns `status`."""
        self._results.conclude(reason)
        return status

    def _time(self, server: Server) -> None:
        workload, run_dir = self._config.workload, self._info.run_dir
        with Display(self._console) as display:
            display.show(f"warming up with {workload.num_warmup} requests", 0, 0)
            timed_point.warm_up(workload, self._work.prompts, server, run_dir)
        if workload.search.mode is not SearchMode.off:
            self._search(server)
            return
        planned = self._work.schedules
        for number, (rate, schedule) in enumerate(planned.items()):
            folder = run_dir if len(planned) == 1 else run_folder.point_folder(run_dir, number, rate)
            if not self._point(server, rate, schedule, folder).complete:
                return

    def _search(self, server: Server) -> None:
        """Let the search choose one rate after the other, each a window against the same warm server."""
        workload, run_dir = self._config.workload, self._info.run_dir
        least = max(workload.search.min_rate, arrivals.least_rate(workload.arrivals))
        chosen = search.create(dataclasses.replace(workload.search, min_rate=least))
        rates: list[float] = []
        while (rate := chosen.next_rate()) is not None:
            schedule = arrivals.window_schedule(workload, rate, rates.count(rate))
            rates.append(rate)
            point = self._point(server, rate, schedule, run_folder.window_folder(run_dir, len(rates), rate))
            point.window = len(rates)
            if not point.complete:
                return
            chosen.add(rate, point.metrics)
            self._results.search = chosen.result()
            write_search(run_dir / run_folder.SEARCH, self._results.search)

    def _point(self, server: Server, rate: float, schedule: Schedule, folder: Path) -> Point:
        with Display(self._console, _LINES_EVERY_S) as display:
            on_progress = _show_load(display, f"X={rate:g}")
            workload, source, npu_ids = self._config.workload, self._work.prompts, self._info.npu_ids
            point = timed_point.run_point(workload, source, server, rate, schedule, folder, on_progress, npu_ids)
        self._results.points.append(point)
        return point

    def _check(self, server: Server, logits_prompts: PromptSource) -> LogitsResult:
        captured = server.captured_dir
        if captured is None:
            raise ServerError(f"{server.url} captures no logits (accuracy.enabled=true)")
        try:
            finished = self._capture(server, captured, logits_prompts)
            return self._compare(server, captured, finished)
        except UnusableInput as error:
            return LogitsResult(self._config.accuracy.num_prompts, 0, problems=[str(error)])

    def _capture(self, server: Server, captured: Path, source: PromptSource) -> int:
        """Have the server write its rows, then end it; returns how many prompts finished."""
        accuracy, info = self._config.accuracy, self._info
        some = source.take(accuracy.num_prompts, server.vocab_size)
        facts = {"prompts_hash": prompts.digest(some), **self._made_by}
        with Display(self._console, _LINES_EVERY_S) as display:
            stored, on_progress = reference.stored(accuracy), _show_load(display, "logits task")
            finished = task.capture(
                self._config.workload,
                accuracy,
                server,
                some,
                stored,
                default_concurrency=info.batch_size,
                folder=info.run_dir,
                on_progress=on_progress,
            )
        server.stop()
        task.describe(accuracy, server, captured, facts)
        if accuracy.export_legacy:
            export_legacy(captured, info.run_dir / run_folder.LEGACY)
        return finished

    def _compare(self, server: Server, captured: Path, finished: int) -> LogitsResult:
        accuracy, info = self._config.accuracy, self._info
        with Display(self._console, _LINES_EVERY_S) as display:
            base = reference.obtain(accuracy, server, captured, info.run_dir, display.show)
        made = info.run_dir / run_folder.REFERENCE
        if made.is_dir():
            add_to_manifest(made, self._made_by)
        result = task.compare(accuracy, finished, base, captured, info.served_dtype)
        if result.comparison:
            write_rows(info.run_dir / run_folder.ACCURACY, result.comparison.table)
            rate = result.comparison.metrics.allclose_pass_rate
            add_to_manifest(captured, {"compared_with": accuracy.reference, "allclose_pass_rate": rate})
        return result

    @property
    def _made_by(self) -> dict[str, str]:
        """Which run a folder of logits belongs to."""
        return {"run": f"{self._info.name}/{self._info.run_dir.name}", "config_digest": self._info.config_digest}


def _show_load(display: Display, label: str) -> OnProgress:
    def show(progress: LoadProgress) -> None:
        rate = progress.chunks / progress.elapsed_s if progress.elapsed_s else 0.0
        display.show(
            f"{label}: sent {progress.sent}, first token {progress.first_token}, failed {progress.failed}, "
            f"{rate:.0f} tokens/s; done",
            progress.finished,
            progress.total,
        )

    return show
