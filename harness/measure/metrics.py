"""All figures of a timed window, computed from its records. Pure: no clocks, no files, no protocol.

Latencies count from the *scheduled* time unless the name says `from_sent`: a client that sends late must not flatter
the server. Times in ms, rates per s. Percentiles are always given where there is any sample; the names of those that
too few samples support (percentiles.py) are listed as `unsupported`, and people are to be shown them as such.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.config import SloConfig
from harness.load.arrivals import Schedule
from harness.measure import samples
from harness.measure.distribution import Distribution, distribution
from harness.measure.percentiles import REPORTED
from harness.measure.samples import LATENCIES
from harness.observe.telemetry import MachineUse
from harness.records import Outcome, RequestRecord


@dataclass(kw_only=True)
class Metrics:
    """Figures of one window; `flat` gives their names in files, MLflow and reports. None = no sample."""

    requests_total: int = 0
    requests: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))
    requests_retried: int = 0  # sent a second time, since the server had closed the idle connection chosen first
    requests_short: int = 0  # finished with fewer output tokens than asked for

    total_time_s: float | None = None  # from the start of the window to the end of the last request
    arrival_floor_s: float = 0.0  # least time that the arrivals alone take
    time_above_floor_s: float | None = None
    prompt_tokens_total: int | None = None  # as the server counts; None if it does not say
    output_tokens_total: int = 0  # of finished requests
    requests_per_s: float | None = None  # finished / total_time_s
    output_tokens_per_s: float | None = None  # output_tokens_total / total_time_s
    steady_window_s: float | None = None  # from the first request's end to the last send: neither filling nor draining
    steady_output_tokens_per_s: float | None = None  # tokens that arrived inside it / its length
    tokens_per_chunk: float | None = None

    latencies: dict[str, Distribution] = field(default_factory=lambda: dict.fromkeys(LATENCIES, Distribution()))

    send_lateness_ms: Distribution = field(
        default_factory=Distribution
    )  # sent - scheduled, all requests that were sent
    read_lag_ms: Distribution = field(default_factory=Distribution)  # how long reply bytes lay unread in the kernel
    scheduled_rate: float | None = None  # requests/s of the schedule: (N - 1) / (last - first)
    achieved_rate: float | None = None  # the same of the sent times
    rate_error: float | None = None  # achieved / scheduled - 1

    generator_cpus: float | None = None  # CPUs that the load workers used; 1.0 = one core busy all the time
    server_cpus: float | None = None  # None where the server's processes are not known
    server_memory_mb_max: float | None = None  # resident, all server processes together
    machine_cpus: float | None = None  # busy with anything
    stolen_cpus: float | None = None  # wanted, but given by the hypervisor to other guests

    drift_ttft_ratio: float | None = None  # median of the last third of the requests / median of the first third
    drift_tpot_ratio: float | None = None

    goodput_requests_per_s: dict[str, float] = field(default_factory=dict)  # by SLO: requests that met it / total time
    slo_attainment: dict[str, float] = field(default_factory=dict)  # by SLO: requests that met it / all requests
    server: dict[str, float] = field(default_factory=dict)  # its steps, see harness.measure.step_figures
    device: dict[str, float] = field(default_factory=dict)  # npu-smi's figures, averaged over the window


def summarise(
    records: list[RequestRecord],
    schedule: Schedule,
    slos: dict[str, SloConfig] | None = None,
    confidence: bool = True,
) -> Metrics:
    """Compute all metrics. `confidence=False` leaves out the intervals (they take a second on large runs)."""
    metrics = Metrics(requests_total=len(records), arrival_floor_s=schedule.floor_s)
    metrics.requests |= Counter(record.outcome for record in records)
    finished = [record for record in records if record.outcome is Outcome.finished]
    _totals(metrics, records, finished)
    metrics.latencies = {
        # Chunks differ from tokens only where a server sends several at once; one set of intervals will do.
        name: distribution(groups, confidence and name != "chunk_itl_ms")
        for name, groups in samples.latencies(finished).items()
    }
    _client(metrics, records, schedule)
    metrics.drift_ttft_ratio = samples.drift_ratio(samples.values("ttft_ms", finished))
    metrics.drift_tpot_ratio = samples.drift_ratio(samples.values("tpot_ms", finished))
    for name, slo in (slos or {}).items():
        good = sum(samples.meets(record, slo) for record in finished)
        metrics.slo_attainment[name] = good / len(records) if records else 0.0
        metrics.goodput_requests_per_s[name] = good / metrics.total_time_s if metrics.total_time_s else 0.0
    return metrics


def observe(metrics: Metrics, generator_cpus: float, machine: MachineUse, steps: dict[str, float]) -> None:
    """Add what generator, server and machine used during the window, and the server's own step figures."""
    metrics.generator_cpus = generator_cpus
    metrics.server_cpus = machine.server_cpus
    metrics.server_memory_mb_max = machine.server_memory_mb_max
    metrics.machine_cpus = machine.machine_cpus
    metrics.stolen_cpus = machine.stolen_cpus
    metrics.server = steps
    metrics.device = {re.sub(r"\W+", "_", name).strip("_").lower(): value for name, value in machine.device.items()}


def flat(metrics: Metrics) -> dict[str, Any]:
    """Metrics as one flat mapping for JSON and MLflow.

    Dict fields become name_key, distributions name_mean, name_p50, …; `unsupported` lists the percentiles with too few
    samples behind them; intervals become name_p50_ci95_low and _high.
    """
    row: dict[str, Any] = {}
    for name, value in vars(metrics).items():
        if isinstance(value, Distribution):
            row |= {f"{name}_p50": value.p(50), f"{name}_p99": value.p(99), f"{name}_max": value.max}
        elif name == "latencies":
            for latency, stats in value.items():
                row[f"{latency}_mean"] = stats.mean
                row |= {f"{latency}_p{p}": stats.p(p) for p in REPORTED}
        elif isinstance(value, dict):
            row |= {f"{name}_{key}": number for key, number in value.items()}
        else:
            row[name] = value
    row["unsupported"] = [f"{name}_p{p}" for name, stats in metrics.latencies.items() for p in stats.unsupported]
    for name, stats in metrics.latencies.items():
        for p, (low, high) in stats.intervals.items():
            row[f"{name}_p{p}_ci95_low"], row[f"{name}_p{p}_ci95_high"] = low, high
    return row


def _totals(metrics: Metrics, records: list[RequestRecord], finished: list[RequestRecord]) -> None:
    ends = [record.ended_ns for record in records if record.ended_ns is not None and record.sent_ns is not None]
    metrics.output_tokens_total = sum(record.output_tokens for record in finished)
    metrics.requests_retried = sum(record.attempts > 1 for record in records)
    metrics.requests_short = sum(record.output_tokens < record.max_new_tokens for record in finished)
    counts = [record.prompt_tokens for record in finished]
    if counts and None not in counts:
        metrics.prompt_tokens_total = sum(count for count in counts if count is not None)
    num_chunks = sum(len(record.chunk_tokens) for record in finished)
    if num_chunks:
        metrics.tokens_per_chunk = metrics.output_tokens_total / num_chunks
    if not ends:
        return
    metrics.total_time_s = total_s = max(ends) / 1e9
    metrics.time_above_floor_s = total_s - metrics.arrival_floor_s
    metrics.requests_per_s = len(finished) / total_s
    metrics.output_tokens_per_s = metrics.output_tokens_total / total_s
    window = samples.steady_window_ns(records)
    if window is not None:
        begin, end = window
        metrics.steady_window_s = (end - begin) / 1e9
        metrics.steady_output_tokens_per_s = samples.tokens_between(records, begin, end) / metrics.steady_window_s


def _client(metrics: Metrics, records: list[RequestRecord], schedule: Schedule) -> None:
    """What the load generator did itself: lateness, rate, read lag."""
    lateness = [late for record in records if (late := samples.lateness_ms(record)) is not None]
    metrics.send_lateness_ms = distribution([np.asarray(lateness)])
    metrics.read_lag_ms = distribution([np.asarray(record.read_lags_ns) / 1e6 for record in records])
    times = [record.sent_ns for record in records if record.sent_ns is not None and record.scheduled_ns is not None]
    if len(times) > 1 and np.isfinite(schedule.rate) and max(times) > min(times):
        metrics.scheduled_rate = schedule.rate
        metrics.achieved_rate = (len(times) - 1) * 1e9 / (max(times) - min(times))
        if len(times) == len(records):
            metrics.rate_error = metrics.achieved_rate / schedule.rate - 1
