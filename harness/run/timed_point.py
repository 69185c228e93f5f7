"""One timed point: a load at one rate against a warm server, its records and its metrics, kept in a folder."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson

from harness import records, run_folder, whole_file
from harness.config import WorkloadConfig
from harness.load import arrivals, generator, prompts
from harness.load.arrivals import Schedule
from harness.load.generator import SPOOL_DIR, LoadRun, OnProgress, stop_on_death
from harness.load.plan import LoadPlan, request_options
from harness.load.prompts import PromptSource
from harness.measure import checks, metrics, step_figures
from harness.measure.checks import Reason
from harness.measure.metrics import Metrics
from harness.observe.observer import Observer
from harness.records import Outcome
from harness.server import Server, ServerError

# What the records say about the window besides the requests themselves.
_IN_RECORDS = (
    "generator_cpus",
    "server_cpus",
    "server_memory_mb_max",
    "machine_cpus",
    "send_lateness_ms_p50",
    "send_lateness_ms_p99",
    "read_lag_ms_p99",
)


@dataclass
class Point:
    """One timed window and what came of it. Files in `folder`: schedule.json, records.parquet,
    telemetry.parquet, server_stats.json.
    """

    folder: Path
    rate: float  # X, requests/s as asked for
    schedule: Schedule
    prompts_hash: str
    started_ms: int  # Unix epoch, start of the window
    ended_ms: int
    metrics: Metrics
    distrust: list[Reason]  # why not to believe the metrics
    errors: dict[str, int]  # requests that did not finish, by error class and message
    load: LoadRun
    window: int = 0  # in a search: its number, from 1

    @property
    def complete(self) -> bool:
        """Whether the window ran to its end."""
        return not self.load.incomplete_reason

    @property
    def unexplained(self) -> bool:
        """Whether requests ended in a way that a full server does not explain."""
        return any(self.metrics.requests[end] for end in (Outcome.failed, Outcome.cancelled, Outcome.lost))


def warm_up(workload: WorkloadConfig, source: PromptSource, server: Server, folder: Path) -> None:
    """Send the first prompts of the data set together and discard the result. Raises ServerError if one fails."""
    if not workload.num_warmup:
        return
    some = source.take(workload.num_warmup, server.vocab_size)
    plan = LoadPlan(
        server.url,
        request_options(workload, server),
        some,
        arrivals.closed_loop(len(some), concurrency=len(some)),
        timeout_s=workload.timeout_s,
        num_workers=1,
    )
    result = generator.run(plan, folder / SPOOL_DIR, stop=stop_on_death(server))
    shutil.rmtree(folder / SPOOL_DIR)
    failed = [record for record in result.records if record.outcome is not Outcome.finished]
    if failed:
        raise ServerError(
            server.failure() or f"warm-up request {failed[0].prompt_id} {failed[0].outcome}: {failed[0].error}"
        )


def run_point(
    workload: WorkloadConfig,
    source: PromptSource,
    server: Server,
    rate: float,
    schedule: Schedule,
    folder: Path,
    on_progress: OnProgress,
    npu_ids: list[int],
) -> Point:
    """Send the whole schedule of rate X and account for every request. The folder is complete on return.

    A server that dies, or Ctrl-C, ends the window early: the point is then not `complete`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    some = source.take(schedule.count, server.vocab_size)
    write_schedule(folder / run_folder.SCHEDULE, workload, rate, schedule)
    plan = LoadPlan(
        server.url,
        request_options(workload, server),
        some,
        schedule,
        timeout_s=workload.timeout_s,
        num_workers=workload.num_workers,
        connections_ahead=workload.connections_ahead,
        max_connections=workload.max_connections,
    )
    with Observer(server, folder, folder / SPOOL_DIR, npu_ids) as observer:
        result = generator.run(plan, folder / SPOOL_DIR, on_progress, stop_on_death(server))
        seen = observer.conclude(result.start_ns, result.end_ns)
    figures = metrics.summarise(result.records, schedule, workload.slos)
    of_steps = step_figures.figures(seen.stats_before, seen.stats_after, seen.steps)
    metrics.observe(figures, result.generator_cpus, seen.machine, of_steps)
    point = Point(
        folder=folder,
        rate=rate,
        schedule=schedule,
        prompts_hash=prompts.digest(some),
        started_ms=round(result.start_unix_s * 1e3),
        ended_ms=round((result.start_unix_s + (result.end_ns - result.start_ns) / 1e9) * 1e3),
        metrics=figures,
        distrust=checks.reasons(result, figures, schedule, seen.machine),
        errors=_errors(result.records),
        load=result,
    )
    about = {"schedule_hash": schedule.hash, "prompts_hash": point.prompts_hash, "complete": point.complete}
    row = metrics.flat(figures)
    about |= {name: row[name] for name in _IN_RECORDS} | {"distrust": [reason.text for reason in point.distrust]}
    records.write(folder / run_folder.RECORDS, result.records, about)
    shutil.rmtree(folder / SPOOL_DIR)
    return point


def write_schedule(path: Path, workload: WorkloadConfig, rate: float, schedule: Schedule) -> None:
    """Keep when each request was to be sent, and the hash by which runs are recognised as comparable."""
    content = {
        "hash": schedule.hash,
        "process": schedule.process,
        "rate": rate,
        "count": schedule.count,
        "seed": workload.arrivals.seed,
        "concurrency": schedule.concurrency,
        "floor_s": schedule.floor_s,
        "offsets_s": np.asarray(schedule.offsets_s),
    }
    whole_file.write_bytes(path, orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY))


def _errors(all_records: list[records.RequestRecord]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for record in all_records:
        if record.outcome is not Outcome.finished:
            text = f"{record.outcome} ({record.error_class}): {record.error}".removesuffix(": ")
            counts[text] = counts.get(text, 0) + 1
    return counts
