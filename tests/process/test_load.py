"""The load generator against real servers: everything sent, timed, accounted for, whatever the server does."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from harness.config import ArrivalConfig, ArrivalProcess
from harness.load import arrivals, generator
from harness.records import Outcome
from tests.support.load import TTFT_MS, Reference, constant, outcomes, plan

pytestmark = pytest.mark.process


@pytest.fixture
def reference(tmp_path: Path) -> Iterator[Reference]:
    server = Reference(tmp_path / "reference.log")
    yield server
    server.process.kill()
    server.process.communicate()


@pytest.mark.parametrize(("protocol", "num_workers"), [("judge", 1), ("completions", 2), ("chat", 1)])
def test_every_token_is_timed_as_the_server_sent_it(
    reference: Reference, tmp_path: Path, protocol: str, num_workers: int
) -> None:
    seen: list[generator.LoadProgress] = []
    run = generator.run(
        plan(reference.url, constant(50, 40), protocol=protocol, num_workers=num_workers),
        tmp_path / "spool",
        lambda progress: seen.append(generator.LoadProgress(**vars(progress))),
    )
    truth = reference.close()
    assert outcomes(run) == {"finished": 40}
    assert (run.incomplete_reason, run.num_workers) == ("", num_workers)
    assert (seen[-1].total, seen[-1].sent, seen[-1].first_token, seen[-1].finished) == (40, 40, 40, 40)
    errors_ms = []
    for record in run.records:
        assert record.text == " 0 1 2 3 4 5 6 7"
        assert (record.output_tokens, record.chunk_tokens, record.finish_reason) == (8, [1] * 8, "length")
        sent_ns = np.asarray(truth[record.server_request_id]["sent_ns"]) - run.start_ns
        errors_ms += ((np.asarray(record.chunk_times_ns) - sent_ns) / 1e6).tolist()
        assert record.scheduled_ns is not None and record.sent_ns is not None
        assert record.sent_ns >= record.scheduled_ns
        # The server cannot have the request before it was sent: both clocks are the same one.
        assert truth[record.server_request_id]["received_ns"] - run.start_ns >= record.sent_ns - 100_000
    # Kernel receive times: a busy test machine delays our reading, not these.
    assert min(errors_ms) > -0.1
    assert np.median(errors_ms) < 0.5


def test_sent_schedule_is_the_generated_one(reference: Reference, tmp_path: Path) -> None:
    schedule = arrivals.schedule(ArrivalConfig(ArrivalProcess.poisson, rate=60, duration_s=3, seed=5))
    run = generator.run(plan(reference.url, schedule, tokens=1), tmp_path)
    assert [record.scheduled_ns for record in run.records] == [round(s * 1e9) for s in schedule.offsets_s]
    lateness_ms = [(r.sent_ns - r.scheduled_ns) / 1e6 for r in run.records if r.sent_ns is not None]  # type: ignore[operator]
    assert len(lateness_ms) == schedule.count
    assert np.median(lateness_ms) < 1
    # What was sent is Poisson too, not only what was planned (Kolmogorov-Smirnov).
    sent_s = np.asarray([r.sent_ns for r in run.records if r.sent_ns is not None]) / 1e9
    assert stats.kstest(np.diff(sent_s), stats.expon(scale=1 / 60).cdf).pvalue > 0.01
    assert stats.ks_2samp(sent_s, schedule.offsets_s, method="asymp").pvalue > 0.99


def test_closed_loop_keeps_so_many_in_flight(reference: Reference, tmp_path: Path) -> None:
    run = generator.run(plan(reference.url, arrivals.closed_loop(20, 4)), tmp_path)
    assert outcomes(run) == {"finished": 20}
    starts = [(record.sent_ns, 1) for record in run.records]
    ends = [(record.ended_ns, -1) for record in run.records]
    in_flight = np.cumsum([change for _, change in sorted(starts + ends)])  # type: ignore[type-var]
    assert in_flight.max() == 4
    assert len({record.sent_ns for record in run.records[:4]}) == 4


def test_a_cap_on_connections_shows_as_lateness_and_drops_nothing(reference: Reference, tmp_path: Path) -> None:
    run = generator.run(plan(reference.url, constant(200, 10), max_connections=1), tmp_path)
    assert outcomes(run) == {"finished": 10}
    last = run.records[-1]
    assert last.sent_ns is not None and last.scheduled_ns is not None
    assert last.sent_ns - last.scheduled_ns > 9 * (TTFT_MS - 6) * 1e6


def test_stop_keeps_what_was_gathered(reference: Reference, tmp_path: Path) -> None:
    stop = generator.Stop()

    def on_progress(progress: generator.LoadProgress) -> None:
        if progress.finished:
            stop.set("agent died")

    run = generator.run(plan(reference.url, constant(20, 100), num_workers=2), tmp_path, on_progress, stop)
    counts = outcomes(run)
    assert run.incomplete_reason == "agent died"
    assert counts["finished"] >= 1
    assert counts["cancelled"] >= 80
    assert counts["finished"] + counts["cancelled"] == 100


def test_server_killed_fails_what_was_under_way_and_goes_on(reference: Reference, tmp_path: Path) -> None:
    def on_progress(progress: generator.LoadProgress) -> None:
        if progress.finished:
            reference.process.kill()

    run = generator.run(plan(reference.url, constant(50, 60)), tmp_path, on_progress)
    counts = outcomes(run)
    assert counts["finished"] >= 1
    assert counts["finished"] + counts["failed"] == 60
    assert {r.error_class for r in run.records if r.outcome is Outcome.failed} <= {"connection", "connect"}


def test_worker_killed_loses_no_finished_request(reference: Reference, tmp_path: Path) -> None:
    killed: list[int] = []

    def on_progress(progress: generator.LoadProgress) -> None:
        if progress.finished and not killed:
            killed.append(child_named("harness.load.worker"))
            os.kill(killed[0], signal.SIGKILL)

    run = generator.run(plan(reference.url, constant(50, 60)), tmp_path, on_progress)
    counts = outcomes(run)
    assert "died" in run.incomplete_reason
    assert counts["finished"] >= 1
    assert counts["finished"] + counts["lost"] == 60


def child_named(name: str) -> int:
    import psutil

    return next(c.pid for c in psutil.Process().children() if name in " ".join(c.cmdline()))


def test_workers_end_when_their_parent_is_killed_and_the_spool_remains(reference: Reference, tmp_path: Path) -> None:
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from pathlib import Path
from tests.support.load import constant, plan
from harness.load import generator
folder = Path({str(tmp_path)!r})
generator.run(plan({reference.url!r}, constant(50, 500)), folder, lambda p: print(p.finished, flush=True))
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    while int(parent.stdout.readline()) < 3:
        pass
    import psutil

    worker = psutil.Process(parent.pid).children()[0]
    parent.kill()
    parent.communicate()
    worker.wait(timeout=5)
    records = generator.recover(tmp_path)
    counts = Counter(record.outcome.value for record in records)
    assert counts["finished"] >= 3
    assert sum(counts.values()) == 500
    assert counts["finished"] + counts["cancelled"] + counts["lost"] == 500


def test_interrupt_in_a_terminal_keeps_records(reference: Reference, tmp_path: Path) -> None:
    main = threading.main_thread().ident
    assert main is not None

    def on_progress(progress: generator.LoadProgress) -> None:
        if progress.finished == 0 or interrupted:
            return
        interrupted.append(time.monotonic())
        signal.pthread_kill(main, signal.SIGINT)

    interrupted: list[float] = []
    run = generator.run(plan(reference.url, constant(20, 200)), tmp_path, on_progress)
    assert run.incomplete_reason == "interrupted (Ctrl-C)"
    assert time.monotonic() - interrupted[0] < 3
    assert outcomes(run)["cancelled"] > 100
