"""Each reason to distrust a run appears when it applies, in words, and not otherwise."""

from dataclasses import replace

import numpy as np
import pytest

from harness.config import ArrivalConfig, ArrivalProcess
from harness.load import arrivals
from harness.load.generator import LoadRun
from harness.measure import checks, metrics
from harness.measure.checks import Check
from harness.observe.telemetry import MachineUse
from harness.records import Outcome, RequestRecord

MS = 1_000_000
COUNT = 700
SCHEDULE = arrivals.schedule(ArrivalConfig(ArrivalProcess.constant, rate=100, duration_s=COUNT / 100 + 0.001))
RNG = np.random.default_rng(0)


def record(index: int, ttft_ms: float = 50, late_ms: float = 0.05, lag_ms: float = 0.1) -> RequestRecord:
    scheduled = index * 10 * MS
    sent = scheduled + round(late_ms * MS)
    times = [sent + round((ttft_ms + 10 * k + RNG.uniform(0, 0.1)) * MS) for k in range(4)]
    return RequestRecord(
        index,
        str(index),
        Outcome.finished,
        4,
        scheduled_ns=scheduled,
        sent_ns=sent,
        ended_ns=times[-1],
        attempts=1,
        output_tokens=4,
        chunk_times_ns=times,
        chunk_tokens=[1] * 4,
        read_lags_ns=[round(lag_ms * MS)] * 4,
    )


def found(records: list[RequestRecord], machine: MachineUse | None = None, **changes) -> dict[Check, str]:
    run = replace(LoadRun(records, 0, 0.0, 7_100 * MS, 1, 0.5, True, ""), **changes)
    schedule = changes.get("schedule", SCHEDULE)
    summary = metrics.summarise(records, schedule, confidence=False)
    return {reason.check: reason.text for reason in checks.reasons(run, summary, schedule, machine)}


GOOD = [record(i) for i in range(COUNT)]


def test_a_good_run_has_none() -> None:
    quiet = MachineUse(window_s=7, num_cpus=2, machine_cpus=1.0, stolen_cpus=0.0, server_cpus=0.8, sampled_cpus=0.9)
    assert found(GOOD, quiet) == {}


def test_lateness() -> None:
    late = [record(i, late_ms=5 if i % 50 == 0 else 0.1) for i in range(COUNT)]
    assert "sent more than 5.0 ms after their time (limit 1.0 ms)" in found(late)[Check.lateness]
    slow = [record(i, ttft_ms=1000, late_ms=5 if i % 50 == 0 else 0.1) for i in range(COUNT)]
    assert Check.lateness not in found(slow)  # 5 ms do not matter to a TTFT of 1000


def test_rate() -> None:
    slow = [record(i, late_ms=0.2 * i) for i in range(COUNT)]  # falls behind by 2 % of each gap
    assert "requests/s where the schedule has 100.00" in found(slow)[Check.rate]


def test_saturated_by_lag_and_by_cpu() -> None:
    lagging = [record(i, lag_ms=9) for i in range(COUNT)]
    assert "lay unread for more than 9.0 ms" in found(lagging)[Check.saturated]
    assert "used 92% of a core" in found(GOOD, generator_cpu_s=6.5)[Check.saturated]


def test_too_few_samples() -> None:
    text = found(GOOD[:60])[Check.samples]
    assert "60 requests are too few for p90 of TTFT, TPOT, E2EL (64 samples needed) and p99 of TTFT, TPOT, ITL" in text
    assert "(662 samples needed)" in text


@pytest.mark.parametrize(("factor", "words"), [(3.0, "fell behind"), (0.3, "not warm")])
def test_drift(factor: float, words: str) -> None:
    drifting = [record(i, ttft_ms=100 * factor ** (i / COUNT)) for i in range(COUNT)]
    assert words in found(drifting)[Check.drift]


def test_noise_is_no_drift() -> None:
    noisy = [record(i, ttft_ms=float(RNG.uniform(10, 500))) for i in range(24)]
    assert Check.drift not in found(noisy)


def test_cold_start() -> None:
    cold = [record(0, ttft_ms=400), *GOOD[1:]]
    assert "the first request took 400 ms" in found(cold)[Check.cold_start]


def test_errors_incomplete_retries_short_outputs() -> None:
    odd = [
        replace(GOOD[0], outcome=Outcome.timed_out),
        replace(GOOD[1], outcome=Outcome.failed),
        replace(GOOD[2], attempts=2),
        replace(GOOD[3], max_new_tokens=9),
        *GOOD[4:],
    ]
    assert found(odd)[Check.errors].startswith("1 requests were sent twice")
    texts = [r.text for r in checks.reasons(
        LoadRun(odd, 0, 0.0, 7_100 * MS, 1, 0.5, True, "agent died"), metrics.summarise(odd, SCHEDULE), SCHEDULE
    )]  # fmt: skip
    assert texts[0] == "the run ended early: agent died"
    assert texts[1].startswith("1 failed, 1 timed out of 700 requests")
    assert any(text.startswith("1 finished requests gave fewer tokens") for text in texts)


def test_counts_that_do_not_sum() -> None:
    summary = metrics.summarise(GOOD, SCHEDULE, confidence=False)
    summary.requests_total += 1
    reasons = checks.reasons(LoadRun(GOOD, 0, 0.0, 7_100 * MS, 1, 0.5, True, ""), summary, SCHEDULE)
    assert reasons[0].text == "the outcomes sum to 700, not to 701"


def test_busy_machine() -> None:
    busy = MachineUse(window_s=7, num_cpus=2, machine_cpus=1.9, stolen_cpus=0.5, server_cpus=0.8, sampled_cpus=0.9)
    run = LoadRun(GOOD, 0, 0.0, 7_000 * MS, 1, 0.7, True, "")
    texts = [r.text for r in checks.reasons(run, metrics.summarise(GOOD, SCHEDULE), SCHEDULE, busy)]
    assert texts == [
        "processes that have nothing to do with this run used 0.90 of 2 cores",
        "the hypervisor withheld 0.50 of 2 cores on average",
    ]


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (
            MachineUse(window_s=3.8, num_cpus=2, unsampled_s=3.2),
            "stop 3.2 s before the window's end: figures of the machine are those of the 3.8",
        ),
        (
            MachineUse(window_s=6, num_cpus=2, unsampled_s=1, sampler_end="was killed by SIGKILL"),
            "end (their process was killed by SIGKILL): ",
        ),
        (MachineUse(unsampled_s=7), "stop 7.0 s before the window's end: figures of the machine are missing"),
    ],
)
def test_a_sampler_that_stopped_is_told(use: MachineUse, words: str) -> None:
    assert words in found(GOOD, use)[Check.telemetry]


@pytest.mark.parametrize(
    "use",
    [
        MachineUse(window_s=7, num_cpus=2, unsampled_s=1.9),
        MachineUse(window_s=7, num_cpus=2, interval_s=5, unsampled_s=15),  # npu-smi is slow
        MachineUse(window_s=7, num_cpus=2, unsampled_s=0.4, sampler_end="was killed by SIGKILL"),  # after the window
        MachineUse(unsampled_s=0.3),  # a window shorter than an interval
    ],
)
def test_a_sample_that_is_merely_late_is_no_reason(use: MachineUse) -> None:
    assert found(GOOD, use) == {}


def test_no_steady_state() -> None:
    slow = [record(i, ttft_ms=60_000) for i in range(COUNT)]
    assert "only 0.0 of 67" in found(slow)[Check.steady]


def test_replies_without_tokens_have_no_course() -> None:
    empty = [replace(each, chunk_times_ns=[], chunk_tokens=[], output_tokens=0) for each in GOOD]
    assert Check.output in found(empty) and Check.cold_start not in found(empty)
