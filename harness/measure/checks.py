"""Reasons to distrust a run's figures, in words. Pure: from the metrics and what the generator and the machine did.

A reason does not change the verdict; it tells the reader what a number may be worth, and what to do about it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from harness.config import ArrivalProcess
from harness.load.arrivals import Schedule
from harness.load.generator import LoadRun
from harness.measure import samples
from harness.measure.metrics import Metrics
from harness.measure.percentiles import REPORTED, min_samples
from harness.observe.telemetry import MachineUse
from harness.records import Outcome, RequestRecord

LATENESS_MS = 1.0
READ_LAG_MS = 2.0
RATE_ERROR = 0.01
DRIFT = 1.25
DRIFT_P_VALUE = 0.01
COLD_START = 3.0
OTHER_CPUS = 0.1  # of all cores
GENERATOR_CPUS = 0.8  # of one core, per worker
STEADY_SHARE = 0.3
UNSAMPLED_INTERVALS = 4  # a busy machine may keep the sampler waiting for one or two


class Check(StrEnum):
    """What was looked at."""

    accounting = "accounting"
    errors = "errors"
    lateness = "lateness"
    rate = "rate"
    saturated = "generator saturated"
    samples = "too few samples"
    drift = "drift"
    cold_start = "cold start"
    steady = "no steady state"
    machine = "machine busy"
    telemetry = "machine not sampled"
    output = "output length"


@dataclass(frozen=True)
class Reason:
    """One reason: which check, and one sentence with its figures."""

    check: Check
    text: str


def reasons(run: LoadRun, metrics: Metrics, schedule: Schedule, machine: MachineUse | None = None) -> list[Reason]:
    """All reasons that apply, the gravest first; an empty list means that none was found."""
    finished = [record for record in run.records if record.outcome is Outcome.finished]
    parts = (
        _accounting(run, metrics),
        _sending(metrics, schedule),
        _generator(run, metrics),
        _telemetry(machine),
        _machine(run, machine),
        _course(finished, metrics, schedule),
        _sample_sizes(metrics),
    )
    return [reason for part in parts for reason in part]


def _accounting(run: LoadRun, metrics: Metrics) -> Iterator[Reason]:
    counts = metrics.requests
    if sum(counts.values()) != metrics.requests_total:
        yield Reason(Check.accounting, f"the outcomes sum to {sum(counts.values())}, not to {metrics.requests_total}")
    if run.incomplete_reason:
        yield Reason(Check.accounting, f"the run ended early: {run.incomplete_reason}")
    missing = {outcome: count for outcome, count in counts.items() if count and outcome is not Outcome.finished}
    if missing:
        listed = ", ".join(f"{count} {outcome.replace('_', ' ')}" for outcome, count in missing.items())
        yield Reason(
            Check.errors,
            f"{listed} of {metrics.requests_total} requests: latencies and rates are those of the others only",
        )
    if metrics.requests_retried:
        yield Reason(
            Check.errors,
            f"{metrics.requests_retried} requests were sent twice, since the server had closed the idle connection",
        )
    if metrics.requests_short:
        yield Reason(
            Check.output,
            f"{metrics.requests_short} finished requests gave fewer tokens than asked for: the work done depends on "
            "the model's words (workload.ignore_eos)",
        )


def _sending(metrics: Metrics, schedule: Schedule) -> Iterator[Reason]:
    late, ttft = metrics.send_lateness_ms.p(99), metrics.latencies["ttft_from_sent_ms"].p(50) or 0.0
    limit = max(LATENESS_MS, 0.01 * ttft)
    if schedule.process is not ArrivalProcess.closed and late is not None and late > limit:
        yield Reason(
            Check.lateness,
            f"1 % of the requests were sent more than {late:.1f} ms after their time (limit {limit:.1f} ms): latencies "
            "from scheduled contain the generator's own delay; compare them with those from sent",
        )
    if metrics.rate_error is not None and abs(metrics.rate_error) > RATE_ERROR:
        yield Reason(
            Check.rate,
            f"sent {metrics.achieved_rate:.2f} requests/s where the schedule has {metrics.scheduled_rate:.2f} "
            f"({metrics.rate_error:+.1%})",
        )


def _generator(run: LoadRun, metrics: Metrics) -> Iterator[Reason]:
    lag = metrics.read_lag_ms.p(99)
    if lag is not None and lag > READ_LAG_MS:
        yield Reason(
            Check.saturated,
            f"generator saturated: 1 % of the replies lay unread for more than {lag:.1f} ms (limit {READ_LAG_MS} ms); "
            "arrival times are the kernel's, but tokens that lay together got the last one's time",
        )
    cpus = run.generator_cpus / run.num_workers
    if cpus > GENERATOR_CPUS:
        yield Reason(
            Check.saturated,
            f"generator saturated: each of its {run.num_workers} processes used {cpus:.0%} of a core "
            "(workload.num_workers)",
        )


def _telemetry(machine: MachineUse | None) -> Iterator[Reason]:
    """Was the machine sampled until the window's end?"""
    if machine is None:
        return
    allowed_s = machine.interval_s * (1 if machine.sampler_end else UNSAMPLED_INTERVALS)
    if machine.unsampled_s > allowed_s:
        why = f" (their process {machine.sampler_end})" if machine.sampler_end else ""
        rest = f"are those of the {machine.window_s:.1f} s before" if machine.window_s else "are missing"
        yield Reason(
            Check.telemetry,
            f"the samples of processors and memory stop {machine.unsampled_s:.1f} s before the window's end{why}: "
            f"figures of the machine {rest}, and what disturbed the rest would not be seen",
        )


def _machine(run: LoadRun, machine: MachineUse | None) -> Iterator[Reason]:
    if machine is None or machine.machine_cpus is None or machine.sampled_cpus is None or not machine.window_s:
        return
    other = machine.machine_cpus - machine.sampled_cpus - run.generator_cpus
    if machine.server_cpus is not None and other > OTHER_CPUS * machine.num_cpus:
        yield Reason(
            Check.machine,
            f"processes that have nothing to do with this run used {other:.2f} of {machine.num_cpus} cores",
        )
    if machine.stolen_cpus is not None and machine.stolen_cpus > OTHER_CPUS * machine.num_cpus / 2:
        yield Reason(
            Check.machine, f"the hypervisor withheld {machine.stolen_cpus:.2f} of {machine.num_cpus} cores on average"
        )


def _course(finished: list[RequestRecord], metrics: Metrics, schedule: Schedule) -> Iterator[Reason]:
    """Was the server the same from beginning to end?"""
    for name in ("ttft", "tpot"):
        values = samples.values(f"{name}_ms", finished)
        ratio = samples.drift_ratio(values)
        third = len(values) // 3
        if ratio is None or 1 / DRIFT < ratio < DRIFT:
            continue
        if _differ_by_chance(values[:third], values[-third:]):
            continue
        why = "it was not warm" if ratio < 1 else "it fell behind: the rate may be above what it can sustain"
        yield Reason(
            Check.drift,
            f"the median {name.upper()} of the last third of the requests is {ratio:.2f} times that of "
            f"the first third: {why}",
        )
    ttft = samples.values("ttft_ms", finished)
    if len(ttft) >= 4 and ttft[0] > COLD_START * np.median(ttft[1:]) and ttft[0] == ttft.max():
        yield Reason(
            Check.cold_start,
            f"the first request took {ttft[0]:.0f} ms to its first token, the others {np.median(ttft[1:]):.0f} ms in "
            "the median (workload.num_warmup)",
        )
    steady, total = metrics.steady_window_s or 0.0, metrics.total_time_s
    if schedule.process is not ArrivalProcess.closed and total and steady < STEADY_SHARE * total:
        yield Reason(
            Check.steady,
            f"only {steady:.1f} of {total:.1f} s lie between the first reply's end and the last send: throughput here "
            "describes filling and draining more than steady service",
        )


def _differ_by_chance(first: NDArray[np.float64], last: NDArray[np.float64]) -> bool:
    """Mann-Whitney's U test of two samples."""
    from scipy import stats  # noqa: PLC0415  the import takes two seconds: only where there is something to test

    return bool(stats.mannwhitneyu(first, last).pvalue > DRIFT_P_VALUE)


def _sample_sizes(metrics: Metrics) -> Iterator[Reason]:
    parts = []
    for p in REPORTED:
        names = ("ttft", "tpot", "itl", "e2el")
        ill = [name.upper() for name in names if p in metrics.latencies[f"{name}_ms"].unsupported]
        if ill:
            parts.append(f"p{p} of {', '.join(ill)} ({min_samples(p)} samples needed)")
    if parts:
        yield Reason(
            Check.samples,
            f"{metrics.requests[Outcome.finished]} requests are too few for {' and '.join(parts)}: "
            "take these as indications",
        )
