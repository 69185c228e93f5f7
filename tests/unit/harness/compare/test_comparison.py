"""Comparing two runs: a real change is found, none is invented, unlike runs are refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from harness import records
from harness.compare import __main__
from harness.compare.comparison import Verdict
from harness.compare.comparison import compare as compare_records
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
        scheduled_ns=scheduled,
        sent_ns=scheduled,
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
    (path / "metrics.json").write_text(json.dumps({"accuracy_status": "passed", **metrics}))
    (path / "schedule.json").write_text(json.dumps({"hash": schedule}))
    (path / "config.yaml").write_text("name: laptop\n")
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
    assert __main__.main([old, same]) == 0
    assert "nothing got worse" in capsys.readouterr().out
    assert __main__.main([old, slow]) == 1
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
    assert __main__.main([old, folder(tmp_path / "new", requests(2), **change)]) == 1
    assert words in " ".join(capsys.readouterr().out.split())


def test_unlike_runs_are_refused_unless_forced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = folder(tmp_path / "old", requests(1))
    other = folder(tmp_path / "other", requests(2), schedule="s2")
    assert __main__.main([old, other]) == 2
    assert "different schedules (s1 and s2): not the same work (--force" in capsys.readouterr().err
    assert __main__.main([old, other, "--force"]) == 0
    assert "forced: different schedules" in " ".join(capsys.readouterr().out.split())


def test_points_of_a_sweep_are_matched_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for run in ("a", "b"):
        for point in ("point-0_x1", "window-02_x2", f"point-2_x{run}"):
            Path(folder(tmp_path / run / point, requests(4), schedule=point), "config.yaml").unlink()
        (tmp_path / run / "metrics.json").write_text('{"accuracy_status": "passed"}')
        (tmp_path / run / "config.yaml").write_text("name: laptop\n")
    assert __main__.main([str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    out = capsys.readouterr().out
    assert "point-0_x1: B against A" in out
    assert "point-2_xa" not in out and "window-02_x2: B against A" in out and "config.yaml" not in out
    assert __main__.main([str(tmp_path / run / "point-0_x1") for run in "ab"]) == 0
    assert "config.yaml" not in capsys.readouterr().out
    for run in ("a", "b"):  # as MLflow keeps points
        (tmp_path / run / "metrics.json").unlink()
        (tmp_path / run / "config.yaml").unlink()
    assert __main__.main([str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert "the verdict is that of" in " ".join(capsys.readouterr().out.split())


def test_a_folder_of_runs_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [folder(tmp_path / "smoke" / name, requests(4)) for name in ("first", "second")]
    assert __main__.main([str(tmp_path / "smoke"), runs[1]]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err) == (
        "",
        f"error: {tmp_path / 'smoke'}: is a folder of runs; name one of them, such as {runs[1]}\n",
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "no such file, so whether the run was"), (b"", "cannot be read"), (b"{}", "verdict of a run")],
)
def test_without_a_verdict_there_is_no_comparison(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, words: str
) -> None:
    old, new = folder(tmp_path / "old", requests(1)), folder(tmp_path / "new", requests(2))
    spoil(Path(new, "metrics.json"), content)
    assert __main__.main([old, new]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {new}/metrics.json: ") and words in said and said.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("config.yaml", None, "no such file, so the settings of the run are unknown"),
        ("config.yaml", b"\n", "is empty, so the settings of the run are unknown"),
        ("schedule.json", None, "no such file; its hash is known from the records"),
        ("schedule.json", b"", "cannot be read"),
        ("schedule.json", b'{"hash": "s2"}', "is not the schedule of these records"),
    ],
)
def test_a_file_that_is_amiss_is_named_where_it_can_be_done_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes | None, words: str
) -> None:
    old, new = folder(tmp_path / "old", requests(1)), folder(tmp_path / "new", requests(2))
    spoil(Path(new, name), content)
    assert __main__.main([old, new]) == 0
    said = "".join(capsys.readouterr().out.split())
    assert f"~ B: {new}/{name}: ".replace(" ", "") in said and words.replace(" ", "") in said


def spoil(path: Path, content: bytes | None) -> None:
    """Overwrite a file, or remove it."""
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)


def test_no_run_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert __main__.main([str(tmp_path / "empty"), str(tmp_path / "empty")]) == 2
    assert "holds no records.parquet" in capsys.readouterr().err
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "records.parquet").write_bytes(b"no")
    (bad / "metrics.json").write_text('{"accuracy_status": "passed"}')
    assert __main__.main([str(bad), str(bad)]) == 2
    assert "cannot be read as Parquet" in capsys.readouterr().err
