"""The logits task: the timed server itself is asked for logits rows, and they are compared with a reference.

Prompts go out together, so that the decode batch is as full as in the timed run. Rows are matched by prompt and
position. It knows neither how the server captures rows nor how the reference computes them.
"""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path

from harness import arrivals, load, prompts
from harness.accuracy.compare import Comparison, Tolerance, compare_folders
from harness.accuracy.errors import UnusableInput
from harness.accuracy.metrics import AccuracyMetrics
from harness.accuracy.ulp import ServedDtype
from harness.config import HarnessConfig, ReferenceKind
from harness.load_plan import LoadPlan
from harness.prompts import Prompt
from harness.records import Outcome
from harness.server import Server, ServerError
from harness.timed import SPOOL_DIR, OnProgress, request_options, stop_on_death


@dataclass
class LogitsResult:
    """What the check found. `comparison` None: nothing could be compared. `problems`: why prompts are missing."""

    num_prompts: int
    num_finished: int
    comparison: Comparison | None
    problems: list[str]

    @property
    def metrics(self) -> AccuracyMetrics | None:
        """The figures, if there are any."""
        return self.comparison.metrics if self.comparison else None


def capture_prompts(config: HarnessConfig, server: Server) -> list[Prompt]:
    """The first prompts of the workload, each asking for its logits rows to be kept."""
    accuracy = config.accuracy
    dataset = dataclasses.replace(
        config.workload.dataset, max_new_tokens=min(accuracy.max_new_tokens, config.workload.dataset.max_new_tokens)
    )
    some = prompts.load(dataset, accuracy.num_prompts, vocab_size=server.vocab_size)
    for prompt in some:
        prompt.prompt_id = f"prompt-{prompt.prompt_id}"
        prompt.extra = {"plumbline": {"prompt_id": prompt.prompt_id, "every": accuracy.every}}
    return some


def capture(
    config: HarnessConfig, server: Server, default_concurrency: int, folder: Path, on_progress: OnProgress
) -> int:
    """Drive the server until every prompt's rows are on disk; returns how many requests finished.

    Raises ServerError if the server died or the task was interrupted.
    """
    some = capture_prompts(config, server)
    concurrency = config.accuracy.concurrency or default_concurrency
    plan = LoadPlan(
        server.url,
        request_options(config.workload, server),
        some,
        arrivals.closed_loop(len(some), concurrency=min(concurrency, len(some))),
        timeout_s=config.workload.timeout_s,
        num_workers=1,
    )
    result = load.run(plan, folder / SPOOL_DIR, on_progress, stop_on_death(server))
    shutil.rmtree(folder / SPOOL_DIR)
    if result.incomplete_reason == load.INTERRUPTED:
        raise KeyboardInterrupt
    if result.incomplete_reason:
        raise ServerError(f"the logits task ended early: {result.incomplete_reason}")
    return sum(record.outcome is Outcome.finished for record in result.records)


def compare(config: HarnessConfig, num_finished: int, base: Path, captured: Path, served_dtype: str) -> LogitsResult:
    """Compare what was captured with the reference rows in `base`. A prompt without rows is a problem, not a pass."""
    accuracy = config.accuracy
    problems = []
    if num_finished < accuracy.num_prompts:
        problems.append(f"only {num_finished} of {accuracy.num_prompts} prompts of the logits task finished")
    tolerance = Tolerance(accuracy.atol, accuracy.rtol, ServedDtype(served_dtype))
    try:
        comparison = compare_folders(base, captured, tolerance)
    except UnusableInput as error:
        return LogitsResult(accuracy.num_prompts, num_finished, None, [*problems, str(error)])
    return LogitsResult(accuracy.num_prompts, num_finished, comparison, problems)


def baseline_folder(config: HarnessConfig) -> Path | None:
    """The stored rows to compare with, or None if the reference is to be computed."""
    return Path(config.accuracy.baseline_path) if config.accuracy.reference is ReferenceKind.baseline else None
