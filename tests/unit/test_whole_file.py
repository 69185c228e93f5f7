"""Files that appear whole or not at all, on both sides."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest

from harness import whole_file as of_harness
from serving import whole_file as of_serving

SIDES = pytest.mark.parametrize("whole_file", [of_harness, of_serving], ids=["harness", "serving"])


@SIDES
def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(whole_file: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    whole_file.write_json(path, {"number": 1})
    with whole_file.writing(path) as partial:
        partial.write_text("{")
        assert json.loads(path.read_text()) == {"number": 1}
        assert partial.parent == tmp_path and partial.name.startswith(".") and partial.suffix == ".partial"
        partial.write_text('{"number": 2}')
    assert json.loads(path.read_text()) == {"number": 2}
    assert list(tmp_path.iterdir()) == [path]


@SIDES
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_a_failure_leaves_the_old_file_and_nothing_else(
    whole_file: ModuleType, tmp_path: Path, error: BaseException
) -> None:
    path = tmp_path / "file"
    whole_file.write_text(path, "old – ä")
    with pytest.raises(type(error)), whole_file.writing(path) as partial:
        partial.write_text("ha")
        raise error
    assert path.read_text(encoding="utf-8") == "old – ä"
    assert list(tmp_path.iterdir()) == [path]


@SIDES
def test_what_cannot_be_put_in_place_is_removed(whole_file: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(OSError, match="file"):
        whole_file.write_text(tmp_path / "file", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
