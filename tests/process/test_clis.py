"""The commands people type, as processes: help, files, exit status, one line for a mistake."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness import records
from harness.records import Outcome, RequestRecord
from harness.tracking.store import default_uri
from harness.tracking.tracked_run import RunStatus, TrackedRun
from harness.tracking.tracker import Tracker
from tests.support.load import Reference
from tests.support.stack import expected_text, expected_tokens, running_stack

pytestmark = pytest.mark.process
ROOT = Path(__file__).parents[2]
MS = 1_000_000


def command(module: str, *arguments: object) -> list[str]:
    return [sys.executable, "-m", module, *map(str, arguments)]


def run(module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(module, *arguments), cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )


def alpaca(folder: Path, count: int) -> list[object]:
    """Prompts of `count` records, record i asking for i + 2 tokens."""
    rows = [{"instruction": f"Do {i}", "input": "", "output": "x"} for i in range(count)]
    (folder / "alpaca.json").write_text(json.dumps(rows))
    (folder / "lengths.csv").write_text("output_tokens\n" + "".join(f"{i + 2}\n" for i in range(count)))
    return ["--data", folder / "alpaca.json", "--lengths", folder / "lengths.csv", "--any-size"]


def test_judge_against_our_own_front_end(tmp_path: Path) -> None:
    with running_stack(tmp_path) as stack:
        done = run(
            "harness.judge", "--task", 1, "-X", 10, "-T", 2, "-P", stack.port, "-O", tmp_path, *alpaca(tmp_path, 8)
        )
        assert stack.outcomes("judge") == {"finished": 20}
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "result_10.0_x.json").read_text())
    # The arithmetic model can be computed by hand; a reply that meets EOS early is shorter and still whole.
    wanted = {f"Do {i}": expected_text(f"Do {i}", i + 2) for i in range(8)}
    assert len(rows) == 20
    assert {row["input"]: row["resp_text"] for row in rows} == wanted
    account = json.loads((tmp_path / "account_10.0_x.json").read_text())
    kept, _ = records.read(tmp_path / "records_10.0_x.parquet")
    assert account["requests_finished"] == len(kept) == 20
    assert [r.token_ids for r in kept[:8]] == [expected_tokens(list(f"Do {i}".encode()), i + 2) for i in range(8)]
    assert f"Exec Time: {account['exec_time_s']:.2f} s" in done.stdout
    assert account["exec_time_s"] >= account["arrival_floor_s"]


def test_judge_with_the_contest_s_own_options_at_full_size(tmp_path: Path) -> None:
    """1500 requests at once, each asking for what the contest's record asks for; the prompts here are invented."""
    rows = [{"instruction": f"Do {i}", "input": "", "output": "x"} for i in range(5010)]
    (tmp_path / "alpaca_5010.json").write_text(json.dumps(rows))
    server = Reference(tmp_path / "log")
    options = ["--task", 1, "-X", 500, "-T", 3, "-P", server.url.rpartition(":")[2], "-O", "out"]
    done = subprocess.run(
        command("harness.judge", *options), cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    server.close()
    assert done.returncode == 0, done.stderr[-500:]
    account = json.loads((tmp_path / "out" / "account_500.0_x.json").read_text())
    assert account["requests_finished"] == account["requests_total"] == 1500
    assert account["output_tokens_total"] == 98_086
    assert len(json.loads((tmp_path / "out" / "result_500.0_x.json").read_text())) == 1500


def test_judge_interrupted_keeps_what_it_has(tmp_path: Path) -> None:
    server = Reference(tmp_path / "log")
    options = ["-X", 20, "-T", 30, "-P", server.url.rpartition(":")[2], "-O", tmp_path / "out", *alpaca(tmp_path, 4)]
    judge = subprocess.Popen(
        command("harness.judge", *options), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert judge.stderr is not None
    shown = ""
    while "done 5" not in shown:
        shown = (shown + judge.stderr.read(1))[-200:]
    judge.send_signal(signal.SIGINT)
    out, _ = judge.communicate(timeout=30)
    server.close()
    assert judge.returncode == 130, out
    assert "Ended early: interrupted (Ctrl-C)" in out
    kept, _ = records.read(tmp_path / "out" / "records_20.0_x.parquet")
    results = json.loads((tmp_path / "out" / "result_20.0_x.json").read_text())
    assert len(kept) == 600
    assert 5 <= len(results) == sum(record.outcome is Outcome.finished for record in kept) < 600
    assert not [
        path for path in (tmp_path / "out").iterdir() if path.name.startswith("spool") or path.suffix == ".partial"
    ]


def test_judge_without_a_server_is_one_line_and_leaves_no_files(tmp_path: Path) -> None:
    done = run("harness.judge", "-X", 1, "-T", 2, "-P", 9, "-O", tmp_path / "out", *alpaca(tmp_path, 2))
    assert done.returncode == 3
    assert done.stderr == "error: http://127.0.0.1:9: [Errno 111] Connection refused\n"
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    "module", ["harness.judge", "harness.compare", "harness.bench.fidelity", "harness.bench.tracking"]
)
def test_help_says_what_it_is_for(module: str) -> None:
    done = run(module, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: python -m {module}")
    assert len(done.stdout.splitlines()) > 8


def run_folder(folder: Path, slower: float) -> Path:
    """A run of 300 requests whose TTFT is 50 ms times `slower`."""
    rng = np.random.default_rng(round(slower * 10))
    rows = []
    for i in range(300):
        at = i * 20 * MS
        times = (at + np.cumsum(np.concatenate([rng.gamma(20, 2.5, 1), rng.gamma(20, 0.5, 7)])) * slower * MS).astype(
            int
        )
        rows.append(
            RequestRecord(
                i, str(i), Outcome.finished, 8, scheduled_ns=at, sent_ns=at, ended_ns=int(times[-1]), output_tokens=8,
                chunk_times_ns=times.tolist(), chunk_tokens=[1] * 8,
            )
        )  # fmt: skip
    folder.mkdir()
    about = {"schedule_hash": "s", "prompts_hash": "p", "distrust": ["processes that have nothing to do with it"]}
    records.write(folder / "records.parquet", rows, about)
    (folder / "metrics.json").write_text('{"accuracy_status": "passed"}')
    return folder


def test_compare_by_folder_and_by_mlflow_run_id(tmp_path: Path) -> None:
    old, slow = run_folder(tmp_path / "old", 1.0), run_folder(tmp_path / "slow", 1.3)
    tracked = TrackedRun("old", 0, 1, RunStatus.finished, artifacts=["records.parquet", "metrics.json"])
    run_id = Tracker(default_uri(tmp_path), "plumbline", tmp_path).log_run(old, tracked).run_id
    worse = run("harness.compare", run_id, slow, "--outputs", tmp_path)
    assert worse.returncode == 1, worse.stderr
    text = " ".join(worse.stdout.split())
    assert "ttft_ms_p50" in text and "slower" in text and "verdict: B is worse than A" in text
    assert "~ A: processes that have nothing to do with it" in text
    better = run("harness.compare", slow, old)
    assert better.returncode == 0
    assert "faster" in better.stdout and "slower" not in better.stdout


def test_compare_of_nothing_is_one_line(tmp_path: Path) -> None:
    done = run("harness.compare", tmp_path, "0123", "--outputs", tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("error: ")
    assert run("harness.compare", tmp_path).returncode == 2
