"""Comparing two runs: a real change is found, none is invented, unlike runs are refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from harness import compare, records
from harness.comparison import Verdict
from harness.comparison import compare as compare_records
from harness.records import Outcome, RequestRecord

MS = 1_000_000
COUNT = 300


def request(index: int, rng: np.random.Generator, slower: float) -> RequestRecord:
    scheduled = index * 20 * MS
    gaps = np.concatenate([rng.gamma(20, 2.5, 1), rng.gamma(20, 0.5, 15)]) * slower
    times = (scheduled + np.cumsum(gaps) * MS).astype(int).tolist()
    return RequestRecord(
        index,
        str(index),
        Outcome.finished,
        16,
        scheduled,
        scheduled,
        ended_ns=times[-1],
        output_tokens=16,
        chunk_times_ns=times,
        chunk_tokens=[1] * 16,
    )


def requests(seed: int, slower: float = 1.0) -> list[RequestRecord]:
    rng = np.random.default_rng(seed)
    return [request(i, rng, slower) for i in range(COUNT)]


def folder(path: Path, some: list[RequestRecord], schedule: str = "s1", **metrics: object) -> str:
    path.mkdir(parents=True)
    records.write(path / "records.parquet", some, {"schedule_hash": schedule, "prompts_hash": "p1"})
    (path / "metrics.json").write_text(json.dumps(metrics))
    return str(path)


def verdicts(a: list[RequestRecord], b: list[RequestRecord]) -> dict[str, Verdict]:
    return {row.name: row.verdict for row in compare_records(a, b)}


def test_a_slower_server_is_found_and_a_faster_one_too() -> None:
    slower = verdicts(requests(1), requests(2, 1.15))
    assert slower["ttft_ms_p50"] is slower["itl_ms_p50"] is slower["e2el_ms_p90"] is Verdict.slower
    assert verdicts(requests(2, 1.15), requests(1))["tpot_ms_p50"] is Verdict.faster
    assert slower["steady_output_tokens_per_s"] is Verdict.no_evidence  # the arrivals, not the server, set it
    assert "ttft_ms_p99" not in slower  # 300 requests do not support it


def test_equal_servers_show_no_evidence() -> None:
    wrong = [
        name
        for seed in range(5)
        for name, verdict in verdicts(requests(2 * seed), requests(2 * seed + 1)).items()
        if verdict is not Verdict.no_evidence
    ]
    assert wrong == []


def test_exit_status_and_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = folder(tmp_path / "old", requests(1))
    same = folder(tmp_path / "same", requests(2))
    slow = folder(tmp_path / "slow", requests(3, 1.2))
    assert compare.main([old, same]) == 0
    assert "nothing got worse" in capsys.readouterr().out
    assert compare.main([old, slow]) == 1
    assert "slower" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"complete": False, "incomplete_reason": "agent died"}, "B: ended early (agent died)"),
        ({"accuracy_status": "failed"}, "B: accuracy failed"),
    ],
)
def test_a_run_that_is_no_result_is_marked_and_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, object], words: str
) -> None:
    old = folder(tmp_path / "old", requests(1))
    assert compare.main([old, folder(tmp_path / "new", requests(2), **change)]) == 1
    assert words in " ".join(capsys.readouterr().out.split())


def test_unlike_runs_are_refused_unless_forced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = folder(tmp_path / "old", requests(1))
    other = folder(tmp_path / "other", requests(2), schedule="s2")
    assert compare.main([old, other]) == 2
    assert "different schedules (s1 and s2): not the same work (--force" in capsys.readouterr().err
    assert compare.main([old, other, "--force"]) == 0
    assert "forced: different schedules" in " ".join(capsys.readouterr().out.split())


def test_points_of_a_sweep_are_matched_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for run in ("a", "b"):
        for point in ("point-0_x1", "point-1_x2", f"only-{run}"):
            folder(tmp_path / run / point, requests(4), schedule=point)
    assert compare.main([str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    out = capsys.readouterr().out
    assert "point-0_x1: B against A" in out
    assert "only-a" not in out


def test_no_run_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert compare.main([str(tmp_path / "empty"), str(tmp_path / "empty")]) == 2
    assert "holds no records.parquet" in capsys.readouterr().err
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "records.parquet").write_bytes(b"no")
    assert compare.main([str(bad), str(bad)]) == 2
    assert "cannot be read as Parquet" in capsys.readouterr().err
