"""python -m serving.doctor as people type it, on this machine: it passes for the CPU, and says what Ascend lacks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.process


def doctor(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "serving.doctor", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_this_machine_is_ready_for_the_cpu(tmp_path: Path) -> None:
    done = doctor("experiment=smoke", f"outputs_dir={tmp_path}/none")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[0] == "arithmetic on cpu (CPU)"
    assert done.stdout.splitlines()[-1].startswith("ready: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(Path("/dev/davinci_manager").exists(), reason="this machine has an NPU")
def test_what_ascend_lacks_here() -> None:
    done = doctor("--json", "device=ascend_910b4", "model=llama2_7b")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    missing = {line["name"]: line["mend"] for line in report["findings"] if line["status"] == "missing"}
    assert {"driver", "device nodes", "npu-smi", "CANN", "CANN environment", "model files"} <= missing.keys()
    assert all(missing.values()) and report["passed"] is False


def test_mistakes_are_one_line() -> None:
    for argument, part in (("device=npu", "known: "), ("serving.batch.decode=0", "at least 1"), ("--jsn", "--json")):
        done = doctor(argument)
        assert done.returncode == 2 and done.stdout == ""
        assert done.stderr.count("\n") == 1 and done.stderr.startswith("error: ") and part in done.stderr
