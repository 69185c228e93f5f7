"""Run folders as frames."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from analysis import load_requests, load_runs, load_series, load_steps, load_token_gaps
from harness import records
from harness.observe import steps
from harness.records import Outcome, RecordsError, RequestRecord
from harness.run_folder import STEPS
from tests.support.steps import table

Load = Callable[[Path], pd.DataFrame]


def write_run(folder: Path, ttft_ms: float) -> None:
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps({"ttft_ms_p50": ttft_ms, "requests_total": 2}))
    finished = RequestRecord(
        0, "a", Outcome.finished, 4, scheduled_ns=1_000_000_000, sent_ns=1_002_000_000, ended_ns=1_300_000_000,
        output_tokens=2, chunk_times_ns=[1_100_000_000, 1_300_000_000], chunk_tokens=[1, 1],
    )  # fmt: skip
    records.write(
        folder / "records.parquet", [finished, RequestRecord(1, "b", Outcome.lost, 4, scheduled_ns=2_000_000_000)]
    )


def test_requests_have_times_in_seconds_and_latencies_from_scheduled(tmp_path: Path) -> None:
    write_run(tmp_path / "run", 100)
    frame = load_requests(tmp_path / "run")
    assert frame["outcome"].tolist() == ["finished", "lost"]
    assert frame.loc[0, "ttft_ms"] == pytest.approx(100)
    assert frame.loc[0, "e2el_ms"] == pytest.approx(300)
    assert frame.loc[0, "lateness_ms"] == pytest.approx(2)
    assert frame.loc[1, ["sent_s", "ttft_ms", "e2el_ms"]].isna().all()


LOADERS = [load_requests, load_series, load_token_gaps, load_steps]


@pytest.mark.parametrize("load", LOADERS, ids=lambda load: load.__name__)
def test_a_corrupt_point_is_named_and_skipped_and_the_others_are_read(load: Load, tmp_path: Path) -> None:
    for point in ("point-1_x1", "point-2_x2", "point-3_x3"):
        write_run(tmp_path / point, 100)
        steps.write(tmp_path / point / STEPS, table([(0.0, "prefill", 1, 2, 5)]))
    corrupt = tmp_path / "point-2_x2" / "records.parquet"
    corrupt.write_bytes(b"garbage")
    with pytest.warns(UserWarning, match=r"skipped: .*point-2_x2/records\.parquet: cannot be read as Parquet"):
        frame = load(tmp_path)
    assert set(frame["point"]) == {"point-1_x1", "point-3_x3"} and frame.attrs["skipped"] == [str(corrupt)]
    for point in ("point-1_x1", "point-3_x3"):
        (tmp_path / point / "records.parquet").write_bytes(b"")
    with pytest.warns(UserWarning), pytest.raises(RecordsError, match=r"none of its 3 records\.parquet can be read"):
        load(tmp_path)


def test_corrupt_steps_are_named_and_skipped(tmp_path: Path) -> None:
    for point in ("point-1_x1", "point-2_x2"):
        write_run(tmp_path / point, 100)
        steps.write(tmp_path / point / STEPS, table([(0.0, "prefill", 1, 2, 5)]))
    (tmp_path / "point-1_x1" / STEPS).write_bytes(b"garbage")
    with pytest.warns(UserWarning, match=r"skipped: .*point-1_x1/steps\.parquet"):
        assert load_steps(tmp_path)["point"].tolist() == ["point-2_x2"]
    (tmp_path / "point-2_x2" / STEPS).unlink()
    with (
        pytest.warns(UserWarning),
        pytest.raises(FileNotFoundError, match=r"no steps\.parquet that can be read \(1 skip"),
    ):
        load_steps(tmp_path)


def test_steps_and_what_they_left_behind_are_told_per_point(tmp_path: Path) -> None:
    write_run(tmp_path / "run" / "point-1_x1", 100)
    with pytest.raises(FileNotFoundError, match=r"the run kept no steps\.parquet"):
        load_steps(tmp_path / "run")
    rows = [(0.0, "prefill", 1, 2, 5), (1.0, "decode", 3, 0, 0)]
    steps.write(tmp_path / "run" / "point-1_x1" / STEPS, table(rows))
    frame = load_steps(tmp_path / "run")
    assert frame["point"].tolist() == ["point-1_x1"] * 2 and frame["kv_blocks_used"].tolist() == [5, 0]
    series = load_series(tmp_path / "run")
    of_server = series[series["metric"] == "kv_use"]
    assert set(of_server["point"]) == {"point-1_x1"} and of_server["value"].max() == pytest.approx(0.5)
    assert {"requests_waiting", "requests_queued", "decode_batch_size"} <= set(series["metric"])


def test_a_run_that_sent_nothing_has_no_series(tmp_path: Path) -> None:
    records.write(tmp_path / "records.parquet", [RequestRecord(0, "a", Outcome.lost, 4)])
    frame = load_series(tmp_path)
    assert frame.empty and list(frame.columns) == ["point", "time_s", "metric", "unit", "value"]


def test_runs_are_rows_and_unreadable_ones_are_named(tmp_path: Path) -> None:
    write_run(tmp_path / "x" / "1", 100)
    write_run(tmp_path / "x" / "2", 200)
    (tmp_path / "x" / "3").mkdir()
    (tmp_path / "x" / "3" / "metrics.json").write_text("{")
    (tmp_path / "latest").symlink_to(tmp_path / "x" / "2")
    with pytest.warns(UserWarning, match=r"x/3/metrics\.json: skipped"):
        frame = load_runs(tmp_path)
    assert sorted(frame["ttft_ms_p50"]) == [100, 200]


def test_the_windows_of_a_search_are_rows_in_the_order_of_time(tmp_path: Path) -> None:
    for number in (100, 9, 10):
        write_run(tmp_path / "run" / f"window-{number:02}_x3", number)
        write_run(tmp_path / "run" / "attempt-1" / f"window-{number:02}_x3", 1)
    (tmp_path / "run" / "metrics.json").write_text(json.dumps({"requests_total": 6, "verdict": "pass"}))
    frame = load_runs(tmp_path)
    assert frame["point"].tolist() == ["window-09_x3", "window-10_x3", "window-100_x3"]
    assert frame["ttft_ms_p50"].tolist() == [9, 10, 100] and set(frame["verdict"]) == {"pass"}
    assert load_requests(tmp_path / "run")["point"].unique().tolist() == frame["point"].tolist()


def test_an_empty_folder_is_said_to_be_empty(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no run folder"):
        load_runs(tmp_path)
