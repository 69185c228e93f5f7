"""The sampler as a process: it samples others, and ends when asked to or when its parent is gone."""

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from harness.config import ArrivalConfig, ArrivalProcess
from harness.load import arrivals
from harness.load.generator import LoadRun
from harness.measure import checks, metrics
from harness.measure.checks import Check
from harness.observe import telemetry
from harness.observe.observer import Observer
from harness.observe.telemetry import Telemetry
from harness.records import Outcome, RequestRecord
from harness.server import ExternalServer

pytestmark = pytest.mark.process


def test_samples_a_busy_process_until_stopped(tmp_path: Path) -> None:
    start_ns = time.monotonic_ns()
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        sampler = Telemetry(tmp_path / "t.jsonl", {"server.busy": busy.pid, "harness": os.getpid()}, interval_s=0.1)
        select.select([], [], [], 2.0)  # the window that is measured
        rows = sampler.stop()
    finally:
        busy.kill()
        busy.communicate()
    use = telemetry.use_between(rows, start_ns, time.monotonic_ns())
    assert use.server_cpus is not None
    assert use.server_cpus > 0.2
    assert set(rows[-1]["processes"]) == {"sampler", "server.busy", "harness"}


def test_a_sampler_that_is_killed_is_a_reason_to_distrust_the_run(tmp_path: Path) -> None:
    records = [RequestRecord(0, "a", Outcome.finished, 4, scheduled_ns=0, sent_ns=0, ended_ns=3 * 10**9)]
    schedule = arrivals.schedule(ArrivalConfig(ArrivalProcess.constant, rate=1, duration_s=1))
    told = []
    for killed in (True, False):
        with Observer(ExternalServer("http://127.0.0.1:9", "none"), tmp_path, tmp_path / "raw", []) as observer:
            start_ns = time.monotonic_ns()
            (sampler,) = [
                child for child in psutil.Process().children() if "harness.observe.telemetry" in child.cmdline()
            ]
            if killed:
                sampler.send_signal(signal.SIGKILL)
            select.select([], [], [], 1.5)  # the window
            seen = observer.conclude(start_ns, time.monotonic_ns())
        run = LoadRun(records, 0, 0.0, 3 * 10**9, 1, 0.1, True, "")
        reasons = checks.reasons(run, metrics.summarise(records, schedule), schedule, seen.machine)
        told.append([reason.text for reason in reasons if reason.check is Check.telemetry])
        assert not sampler.is_running()
    assert len(told[0]) == 1 and "before the window's end (their process was killed by SIGKILL)" in told[0][0]
    assert told[1] == []
