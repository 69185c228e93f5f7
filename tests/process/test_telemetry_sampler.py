"""The sampler as a process: it samples others, and ends when asked to or when its parent is gone."""

import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness import telemetry
from harness.telemetry import Telemetry

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
