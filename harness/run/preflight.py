"""What can be known to be wrong with a load or a check before any process starts. It sends nothing."""

from __future__ import annotations

import math

from harness.accuracy import reference, task
from harness.config import (
    AccuracyConfig,
    ArrivalProcess,
    ClientProtocol,
    HarnessConfig,
    SearchMode,
    WorkloadConfig,
)
from harness.load import arrivals
from harness.load.arrivals import MAX_REQUESTS
from harness.load.prompt_files import DatasetError
from harness.load.prompts import TOKEN_FORMATS, PromptSource
from harness.load.protocols import target
from harness.run.work import Work

MAX_WORKERS = 64  # load generator processes


def plan(config: HarnessConfig, external_url: str | None) -> tuple[Work | None, list[str]]:
    """What the run will send, and one line per mistake: the full key, the value and what is allowed.

    The work is None only if there is a mistake. external_url: serving.url for a server that runs already, None for a
    stack of our own.
    """
    found = _workload_problems(config.workload) + _accuracy_problems(config.accuracy)
    if external_url is not None:
        found += _external_problems(config, external_url)
    try:
        work = _work(config)
    except ValueError as error:
        return None, [*found, str(error)]
    return work, found or reference.problems(config.accuracy)


def _work(config: HarnessConfig) -> Work:
    """Read all files that the load needs. Raises ValueError in one line."""
    workload, accuracy = config.workload, config.accuracy
    try:
        schedules, source = arrivals.schedules(workload), PromptSource(workload.dataset)
        _take_all(source, max(schedule.count for schedule in schedules.values()))
    except ValueError as error:
        raise ValueError(_as_typed(str(error), workload)) from None
    if not accuracy.enabled or _accuracy_problems(accuracy):
        return Work(schedules, source, None)
    try:
        logits_source = PromptSource(task.dataset(accuracy, workload.dataset))
        _take_all(logits_source, accuracy.num_prompts)
    except DatasetError as error:
        raise ValueError(f"accuracy.dataset_path={accuracy.dataset_path}: {error}") from None
    return Work(schedules, source, logits_source)


def _take_all(source: PromptSource, count: int) -> None:
    """See that all prompts can be had. The server has not told its vocabulary yet: any will do."""
    source.take(count, vocab_size=2)


def _workload_problems(workload: WorkloadConfig) -> list[str]:
    found = []
    if workload.dataset.vocab_size < 0:
        found.append(f"workload.dataset.vocab_size={workload.dataset.vocab_size}: must be at least 0")
    if not workload.timeout_s > 0:
        found.append(f"workload.timeout_s={workload.timeout_s}: must be seconds above 0")
    if not 0 <= workload.num_warmup <= MAX_REQUESTS:
        found.append(f"workload.num_warmup={workload.num_warmup}: must be 0 to {MAX_REQUESTS}")
    if not 0 <= workload.num_workers <= MAX_WORKERS:
        found.append(
            f"workload.num_workers={workload.num_workers}: must be 0 (as many as the rate needs) to {MAX_WORKERS}"
        )
    found += _slo_problems(workload) + _search_problems(workload)
    if workload.dataset.format in TOKEN_FORMATS and workload.protocol is not ClientProtocol.completions:
        found.append(
            f"workload.protocol={workload.protocol}: cannot carry token ids of "
            f"workload.dataset.format={workload.dataset.format}; use completions"
        )
    return found


def _as_typed(line: str, workload: WorkloadConfig) -> str:
    """A search or several rates set the rate by a key of their own."""
    if workload.search.mode is not SearchMode.off:
        return line.replace("workload.arrivals.rate", "workload.search.start_rate")
    return line.replace("workload.arrivals.rate", "workload.sweep_rates: rate") if workload.sweep_rates else line


def _slo_problems(workload: WorkloadConfig) -> list[str]:
    return [
        f"workload.slos.{name}.{limit}={value}: must be milliseconds above 0"
        for name, slo in workload.slos.items()
        for limit, value in (("ttft_ms", slo.ttft_ms), ("tpot_ms", slo.tpot_ms))
        if not 0 < value < math.inf
    ]


def _search_problems(workload: WorkloadConfig) -> list[str]:
    sought, process = workload.search, workload.arrivals.process
    if sought.mode is SearchMode.off:
        return []
    found = []
    if sought.mode is SearchMode.slo and sought.slo not in workload.slos:
        found.append(f"workload.search.slo={sought.slo}: must be one of workload.slos: {', '.join(workload.slos)}")
    if not 0 < sought.attainment <= 1:
        found.append(f"workload.search.attainment={sought.attainment}: must be above 0 and at most 1")
    if sought.max_windows < 1:
        found.append(f"workload.search.max_windows={sought.max_windows}: must be at least 1")
    found += [
        f"workload.search.{name}={getattr(sought, name)}: must be a number above 0"
        for name in ("min_rate", "tolerance")  # start_rate: when its schedule is made
        if not (getattr(sought, name) > 0 and math.isfinite(getattr(sought, name)))
    ]
    if process in (ArrivalProcess.trace, ArrivalProcess.closed):
        found.append(f"workload.arrivals.process={process}: has no rate to search for")
    if workload.sweep_rates:
        found.append(
            f"workload.sweep_rates={workload.sweep_rates}: must be empty while workload.search.mode is not off"
        )
    return found


def _accuracy_problems(accuracy: AccuracyConfig) -> list[str]:
    if not accuracy.enabled:
        return []
    found = [
        f"accuracy.{name}={getattr(accuracy, name)}: must be at least {least}"
        for name, least in (("num_prompts", 1), ("concurrency", 0), ("every", 0), ("max_new_tokens", 1))
        if getattr(accuracy, name) < least
    ]
    if accuracy.num_prompts > MAX_REQUESTS:
        found.append(f"accuracy.num_prompts={accuracy.num_prompts}: must be at most {MAX_REQUESTS}")
    if not 0 < accuracy.min_pass_rate <= 1:
        found.append(f"accuracy.min_pass_rate={accuracy.min_pass_rate}: must be above 0 and at most 1")
    found += [
        f"accuracy.{name}={getattr(accuracy, name)}: must be 0 or above"
        for name in ("atol", "rtol", "rate")
        if not 0 <= getattr(accuracy, name) < math.inf
    ]
    if any(position < 0 for position in accuracy.positions):
        found.append(f"accuracy.positions={accuracy.positions}: must be positions from 0")
    return found


def _external_problems(config: HarnessConfig, url: str) -> list[str]:
    if not url:
        return ["serving.url='': must be a server's URL, e.g. http://127.0.0.1:8000, for serving.external=true"]
    found = []
    dataset = config.workload.dataset
    if dataset.format in TOKEN_FORMATS and not dataset.vocab_size:
        found.append(f"workload.dataset.vocab_size=0: must be the served model's for format={dataset.format}")
    if config.accuracy.enabled:
        found.append("accuracy.enabled=true: an external server captures no logits; add accuracy=none")
    try:
        target(url)
    except ValueError as error:
        found.append(str(error))
    return found
