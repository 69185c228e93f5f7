"""The layout of a run's folder: which folders are points, in which order, and that both sides use the same names."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import records, run_folder
from harness.run_folder import RunFolderError
from serving.engine import captures
from serving.processes import stack_file
from serving.weights import folder as model_folder
from serving.weights import served_folder


def with_records(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    records.write(folder / run_folder.RECORDS, [])
    return folder


@pytest.mark.parametrize("folder_of", [run_folder.point_folder, run_folder.window_folder], ids=["points", "windows"])
def test_points_are_in_the_order_of_time_and_nothing_else_is_one(folder_of, tmp_path):
    made = [with_records(folder_of(tmp_path, number, rate)) for number, rate in ((2, 8.0), (10, 0.25), (100, 1e-6))]
    for other in ("attempt-1", "captures", "point-x", "window-03", "my_x2"):
        with_records(tmp_path / other)
    (tmp_path / "point-11_x3").write_text("a file")
    unfinished = folder_of(tmp_path, 101, 3.0)
    unfinished.mkdir()
    assert run_folder.point_folders(tmp_path) == [*made, unfinished]
    assert run_folder.record_folders(tmp_path) == made
    assert all(map(run_folder.is_point, made)) and not run_folder.is_point(tmp_path / "attempt-1")


def test_a_run_of_one_point_keeps_it_in_its_own_folder(tmp_path):
    assert run_folder.record_folders(tmp_path) == []
    assert run_folder.record_folders(with_records(tmp_path)) == [tmp_path]
    assert run_folder.point_folders(tmp_path) == []


def test_windows_are_read_back_by_name(tmp_path):
    (tmp_path / run_folder.METRICS).write_text('{"accuracy_status": "passed", "complete": true}')
    names = [with_records(run_folder.window_folder(tmp_path, number, 3.0)).name for number in (1, 2)]
    found = run_folder.read_points(tmp_path)
    assert list(found) == names == ["window-01_x3", "window-02_x3"]
    assert all(point.metrics["complete"] and point.records == [] for point in found.values())


def test_a_folder_of_runs_with_several_points_is_said_to_be_one(tmp_path):
    with_records(run_folder.point_folder(tmp_path / "run", 0, 1.0))
    with pytest.raises(RunFolderError, match=f"is a folder of runs; name one of them, such as {tmp_path}/run"):
        run_folder.read_points(tmp_path)


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]"])
def test_figures_that_cannot_be_read_are_none(content, tmp_path):
    if content is not None:
        (tmp_path / run_folder.METRICS).write_bytes(content)
    assert run_folder.metrics_of(tmp_path) == {}


def test_both_sides_use_the_same_names():
    """serving writes these and may not import harness, which reads them."""
    assert stack_file.FILE_NAME == run_folder.STACK
    assert served_folder.FILE_NAME == run_folder.MODEL
    assert captures.FOLDER == run_folder.CAPTURES
    assert model_folder.MANIFEST == run_folder.MANIFEST
