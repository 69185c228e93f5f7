"""The logits task: the timed server itself is asked for logits rows, and they are compared with a reference.

Prompts go out together, so that the decode batch is as full as in the timed run, or at a rate. Rows are matched by
prompt and position. It knows neither how the server captures rows nor where the reference comes from.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.accuracy.capture import Capture, read_folder
from harness.accuracy.compare import Comparison, Tolerance, compare_captures
from harness.accuracy.errors import UnusableInput
from harness.accuracy.manifest import add_to_manifest
from harness.accuracy.metrics import AccuracyMetrics
from harness.accuracy.reference import Base
from harness.accuracy.ulp import ServedDtype
from harness.config import AccuracyConfig, ArrivalConfig, ArrivalProcess, DatasetConfig, WorkloadConfig
from harness.load import arrivals, generator
from harness.load.arrivals import Schedule
from harness.load.generator import SPOOL_DIR, OnProgress, stop_on_death
from harness.load.plan import LoadPlan, request_options
from harness.load.prompts import Prompt
from harness.records import Outcome
from harness.server import Server, ServerError

Captures = Mapping[str, Capture]


@dataclass
class LogitsResult:
    """What the check found. `comparison` None: nothing could be compared. `problems`: why it does not count."""

    num_prompts: int
    num_finished: int
    comparison: Comparison | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def metrics(self) -> AccuracyMetrics | None:
        """The figures, if there are any."""
        return self.comparison.metrics if self.comparison else None


def dataset(accuracy: AccuracyConfig, known: DatasetConfig) -> DatasetConfig:
    """Where the task's prompts and their lengths come from. known: the workload's."""
    if accuracy.dataset_path:
        return dataclasses.replace(
            known, path=accuracy.dataset_path, lengths_path="", max_new_tokens=accuracy.max_new_tokens
        )
    return dataclasses.replace(known, max_new_tokens=min(accuracy.max_new_tokens, known.max_new_tokens))


def ask_for_rows(some: list[Prompt], accuracy: AccuracyConfig, stored: Captures) -> None:
    """Make each prompt ask for its logits rows to be kept.

    A prompt in the `stored` baseline is asked for the same rows after the same tokens (teacher forcing), so that one
    other token does not hide all that comes after it.
    """
    for prompt in some:
        prompt.prompt_id = f"prompt-{prompt.prompt_id}"
        wish: dict[str, Any] = {"prompt_id": prompt.prompt_id}
        if known := stored.get(prompt.prompt_id):
            prompt.max_new_tokens = len(known.generated_ids)
            wish |= {"positions": known.positions, "forced_ids": known.generated_ids}
        else:
            wish |= {"every": accuracy.every, "positions": accuracy.positions}
        prompt.extra = {"plumbline": wish}


def schedule(accuracy: AccuracyConfig, count: int, default_concurrency: int) -> Schedule:
    """All prompts at accuracy.rate with the contest client's gaps, or as many in flight as the batch holds."""
    if accuracy.rate:
        duration_s = (count + 0.5) / accuracy.rate  # int(rate x duration) is then `count`, however it is rounded
        config = ArrivalConfig(ArrivalProcess.judge, rate=accuracy.rate, duration_s=duration_s)
        return arrivals.schedule(config)
    return arrivals.closed_loop(count, concurrency=min(count, accuracy.concurrency or default_concurrency))


def capture(
    workload: WorkloadConfig,
    accuracy: AccuracyConfig,
    server: Server,
    some: list[Prompt],
    stored: Captures,
    *,
    default_concurrency: int,
    folder: Path,
    on_progress: OnProgress,
) -> int:
    """Drive the server until every prompt's rows are on disk; returns how many requests finished.

    Raises ServerError if the server died or the task was interrupted.
    """
    ask_for_rows(some, accuracy, stored)
    options = request_options(workload, server)
    plan = LoadPlan(
        server.url,
        dataclasses.replace(options, ignore_eos=True) if stored else options,  # what is forced may hold an EOS
        some,
        schedule(accuracy, len(some), default_concurrency),
        timeout_s=workload.timeout_s,
        num_workers=1,
    )
    result = generator.run(plan, folder / SPOOL_DIR, on_progress, stop_on_death(server))
    shutil.rmtree(folder / SPOOL_DIR)
    if result.incomplete_reason == generator.INTERRUPTED:
        raise KeyboardInterrupt
    if result.incomplete_reason:
        raise ServerError(f"the logits task ended early: {result.incomplete_reason}")
    return sum(record.outcome is Outcome.finished for record in result.records)


def describe(accuracy: AccuracyConfig, server: Server, captured: Path, facts: Mapping[str, Any]) -> None:
    """Write what made the captured rows beside them, so that they can serve as a baseline later."""
    about = {
        "method": "served under load",
        **server.about(),
        "num_prompts": accuracy.num_prompts,
        "every": accuracy.every,
        **facts,
    }
    captured.mkdir(parents=True, exist_ok=True)
    add_to_manifest(captured, about)


def compare(accuracy: AccuracyConfig, num_finished: int, base: Base, captured: Path, served_dtype: str) -> LogitsResult:
    """Compare what was captured with the reference. A prompt without rows is a problem, not a pass."""
    result = LogitsResult(accuracy.num_prompts, num_finished, problems=list(base.problems))
    if num_finished < accuracy.num_prompts:
        result.problems.append(f"only {num_finished} of {accuracy.num_prompts} prompts of the logits task finished")
    tolerance = Tolerance(accuracy.atol, accuracy.rtol, ServedDtype(served_dtype), every=base.every)
    try:
        result.comparison = compare_captures(base.captures, read_folder(captured), tolerance)
    except UnusableInput as error:
        result.problems.append(str(error))
    return result
