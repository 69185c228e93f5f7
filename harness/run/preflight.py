"""What can be known to be wrong with a load or a check before any process starts. It sends nothing."""

from __future__ import annotations

import math

from harness.accuracy import reference, task
from harness.config import (
    ArrivalProcess,
    ClientProtocol,
    HarnessConfig,
    SearchMode,
    WorkloadConfig,
)
from harness.load import prompts
from harness.load.arrivals import MAX_REQUESTS, schedules
from harness.load.prompt_files import DatasetError
from harness.load.protocols import target

MAX_WORKERS = 64  # load generator processes


def problems(config: HarnessConfig, external_url: str | None) -> list[str]:
    """One line per mistake, each naming the full key, the value and what is allowed; empty if all is well.

    external_url: serving.url for a server that runs already, None for a stack of our own.
    """
    found = _workload_problems(config) + _accuracy_problems(config)
    if external_url is not None:
        found += _external_problems(config, external_url)
    return found


def _workload_problems(config: HarnessConfig) -> list[str]:
    workload = config.workload
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
    if workload.dataset.format in prompts.TOKEN_FORMATS and workload.protocol is not ClientProtocol.completions:
        found.append(
            f"workload.protocol={workload.protocol}: cannot carry token ids of "
            f"workload.dataset.format={workload.dataset.format}; use completions"
        )
    try:
        largest = max(schedule.count for schedule in schedules(workload).values())
        # Any vocabulary size will do here: ids are drawn again once the server has told its own.
        prompts.load(workload.dataset, largest, vocab_size=2)
    except (DatasetError, ValueError) as error:
        found.append(_as_typed(str(error), workload))
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
    sought, arrivals = workload.search, workload.arrivals
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
    if arrivals.process in (ArrivalProcess.trace, ArrivalProcess.closed):
        found.append(f"workload.arrivals.process={arrivals.process}: has no rate to search for")
    if workload.sweep_rates:
        found.append(
            f"workload.sweep_rates={workload.sweep_rates}: must be empty while workload.search.mode is not off"
        )
    return found


def _accuracy_problems(config: HarnessConfig) -> list[str]:
    accuracy = config.accuracy
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
    if not found and accuracy.dataset_path:
        try:
            prompts.load(task.dataset(config), accuracy.num_prompts, vocab_size=2)
        except DatasetError as error:
            found.append(f"accuracy.dataset_path={accuracy.dataset_path}: {error}")
    return found or reference.problems(accuracy)


def _external_problems(config: HarnessConfig, url: str) -> list[str]:
    if not url:
        return ["serving.url='': must be a server's URL, e.g. http://127.0.0.1:8000, for serving.external=true"]
    found = []
    dataset = config.workload.dataset
    if dataset.format in prompts.TOKEN_FORMATS and not dataset.vocab_size:
        found.append(f"workload.dataset.vocab_size=0: must be the served model's for format={dataset.format}")
    if config.accuracy.enabled:
        found.append("accuracy.enabled=true: an external server captures no logits; add accuracy=none")
    try:
        target(url)
    except ValueError as error:
        found.append(str(error))
    return found
