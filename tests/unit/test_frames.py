"""Run folders as frames."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analysis import load_requests, load_runs
from harness import records
from harness.records import Outcome, RequestRecord


def write_run(folder: Path, ttft_ms: float) -> None:
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps({"ttft_ms_p50": ttft_ms, "requests_total": 2}))
    finished = RequestRecord(
        0, "a", Outcome.finished, 4, 1_000_000_000, 1_002_000_000, ended_ns=1_300_000_000, output_tokens=2,
        chunk_times_ns=[1_100_000_000, 1_300_000_000], chunk_tokens=[1, 1],
    )  # fmt: skip
    records.write(folder / "records.parquet", [finished, RequestRecord(1, "b", Outcome.lost, 4, 2_000_000_000)])


def test_requests_have_times_in_seconds_and_latencies_from_scheduled(tmp_path: Path) -> None:
    write_run(tmp_path / "run", 100)
    frame = load_requests(tmp_path / "run")
    assert frame["outcome"].tolist() == ["finished", "lost"]
    assert frame.loc[0, "ttft_ms"] == pytest.approx(100)
    assert frame.loc[0, "e2el_ms"] == pytest.approx(300)
    assert frame.loc[0, "lateness_ms"] == pytest.approx(2)
    assert frame.loc[1, ["sent_s", "ttft_ms", "e2el_ms"]].isna().all()


def test_runs_are_rows_and_unreadable_ones_are_named(tmp_path: Path) -> None:
    write_run(tmp_path / "x" / "1", 100)
    write_run(tmp_path / "x" / "2", 200)
    (tmp_path / "x" / "3").mkdir()
    (tmp_path / "x" / "3" / "metrics.json").write_text("{")
    (tmp_path / "latest").symlink_to(tmp_path / "x" / "2")
    with pytest.warns(UserWarning, match=r"x/3/metrics\.json: skipped"):
        frame = load_runs(tmp_path)
    assert sorted(frame["ttft_ms_p50"]) == [100, 200]


def test_an_empty_folder_is_said_to_be_empty(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no run folder"):
        load_runs(tmp_path)
