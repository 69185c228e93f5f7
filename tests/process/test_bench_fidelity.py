"""make bench-fidelity in small: it measures, says which peers are missing, and ends in one line of JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process
ROOT = Path(__file__).parents[2]


def bench(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run it with no peer on PATH."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PLUMBLINE_")}
    return subprocess.run(
        [sys.executable, "-m", "harness.bench.fidelity", *arguments],
        cwd=ROOT,
        env=clean | {"PATH": "/bin"} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_measures_ours_and_accounts_for_a_peer_that_fails(tmp_path: Path) -> None:
    options = ["--rounds", "1", "--duration-s", "1", "--only", "50 req", "--dir", str(tmp_path)]
    done = bench(*options, PLUMBLINE_AIPERF="/bin/false")
    assert done.returncode == 0, done.stderr
    assert "guidellm: not installed, so not measured (--guidellm PATH)" in done.stdout
    row = json.loads(done.stdout.splitlines()[-1])
    ours = row["cases"]["50 requests/s"]
    assert (row["lost"], ours["lost"]) == (0, 0)
    assert ours["ttft_ms_p50"] >= 50
    assert 0 <= row["itl_error_ms_p99"] < row["ttft_error_ms_p99"] + 10
    assert {"max_events_per_s_within_2ms", "ttft_error_ms_p99", "peers"} <= set(row)
    (error,) = row["peers"]["aiperf"]["50 requests/s"]["errors"]
    assert error.startswith("aiperf: no result that can be read")
    assert list(tmp_path.iterdir()) == []


def test_a_named_peer_that_is_not_there_is_one_line() -> None:
    done = bench("--vllm", "/no/such/python")
    assert (done.returncode, done.stderr) == (2, "error: vllm: /no/such/python is no executable\n")
