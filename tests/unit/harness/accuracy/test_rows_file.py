"""The Parquet file of rows: one line per row, nulls where nothing was measured, what the report reads."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

from harness.accuracy import compare_folders
from harness.accuracy.__main__ import main
from harness.accuracy.rows_file import write_rows
from harness.report.accuracy_figures import read_rows
from harness.run_folder import ACCURACY
from tests.support.captures import random_rows, write_capture


@pytest.fixture
def folders(tmp_path):
    base, new = tmp_path / "base", tmp_path / "new"
    rows = random_rows(3, 50)
    write_capture(base, "a", rows, positions=[2, 4, 5])
    other = rows.copy()
    other[1, 7] += 0.5
    write_capture(new, "a", other[:2], positions=[2, 4], generated_ids=[10, 11, 12], batch_sizes=[4, 3])
    return base, new


def test_lines_say_what_the_table_says(folders, tmp_path):
    comparison = compare_folders(*folders)
    write_rows(tmp_path / "rows.parquet", comparison.table)
    lines = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    assert [line["prompt_id"] for line in lines] == ["a", "a", "a"]
    assert [line["position"] for line in lines] == [2, 4, 5]
    assert [line["occupancy"] for line in lines] == [4, 3, None]
    assert [line["status"] for line in lines] == ["passed", "failed", "missing"]
    assert [line["passed"] for line in lines] == [True, False, False]
    assert lines[0]["max_abs_diff"] == 0 and lines[0]["bit_equal"] and lines[0]["top1"] is True
    assert lines[1]["max_abs_diff"] == pytest.approx(0.5, rel=1e-5) and lines[1]["worst_token_id"] == 7
    assert lines[1]["kl"] > 0 and lines[1]["max_ulp"] > 0
    assert {name for name, value in lines[2].items() if value is None} == {
        "occupancy", "max_abs_diff", "mean_abs_diff", "worst_token_id", "max_ulp", "kl", "top1", "top5"
    }  # fmt: skip
    assert not list(tmp_path.glob(".*"))


def test_the_report_reads_it(folders, tmp_path):
    write_rows(tmp_path / ACCURACY, compare_folders(*folders).table)
    seen = read_rows(tmp_path)
    assert seen["position"].tolist() == [2, 4, 5]
    assert seen["passed"].tolist() == [1, 0, 0]
    assert np.isnan(seen["max_abs_diff"][2]) and np.isnan(seen["occupancy"][2])


def test_the_command_writes_it_and_names_a_place_it_cannot_write(folders, tmp_path, capsys):
    assert main([*map(str, folders), "--rows", str(tmp_path / "rows.parquet")]) == 1
    assert pq.read_metadata(tmp_path / "rows.parquet").num_rows == 3
    assert main([*map(str, folders), "--rows", str(tmp_path / "no" / "rows.parquet")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_only_positions_asked_for_are_judged(folders, capsys):
    assert main([*map(str, folders), "--every", "2"]) == 1
    assert "1 of 2 rows all-close" in capsys.readouterr().out
    assert main([*map(str, folders), "--every", "5"]) == 2
    assert "nothing to compare" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main([*map(str, folders), "--every", "0"])
