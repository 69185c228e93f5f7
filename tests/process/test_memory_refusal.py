"""A model that this machine cannot hold is refused in a line, before anything of it is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.process


@pytest.mark.parametrize("command", ["launch.py", "serve.py"])
def test_the_sum_is_printed_and_the_run_refused(command: str, tmp_path: Path) -> None:
    overrides = ["model=llama2_7b_random", "model.shape.num_layers=3200", f"outputs_dir={tmp_path}"]
    overrides += ["serving.http.port=0", "accuracy=none", "tracking=none"]
    done = subprocess.run(
        [sys.executable, command, *overrides], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2, done.stdout + done.stderr
    said = " ".join((done.stdout + done.stderr).split())
    assert "memory: weights 2," in said and "the agent needs at least" in said
    assert "set device.dtype to float16 or lower model.shape.num_layers" in said and "Traceback" not in said
    assert not list(tmp_path.rglob("prepare.log")) and not list(tmp_path.rglob("agent-0.log"))
