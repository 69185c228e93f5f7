"""A few seconds of the soak: random load, random disconnects, and nothing left over."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support.stack import ROOT

pytestmark = pytest.mark.process


def test_three_seconds_of_random_load_leave_nothing_behind() -> None:
    command = [sys.executable, "-m", "serving.bench.soak", "--minutes", "0.05", "--seed", "3"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stderr
    result = json.loads(ended.stdout.splitlines()[-1])
    assert result["problems"] == []
    assert result["fates"]["finished"] > 0 and result["fates"]["left"] > 0
    assert (result["wrong_answers"], result["requests_live"], result["kv_blocks_used"]) == (0, 0, 0)


def test_a_soak_of_no_length_is_refused() -> None:
    command = [sys.executable, "-m", "serving.bench.soak", "--minutes", "0"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stderr.splitlines()[-1].count("--minutes 0.0: must be more than 0")) == (2, 1)
