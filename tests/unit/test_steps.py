"""The table of a window's steps: only those of the window, numbered, of every agent; other servers' pages are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from harness import steps


def columns(first: int, count: int) -> dict[str, Any]:
    numbers = list(range(first, first + count))
    sizes = {"num_seqs": [1] * count, "num_tokens": [1] * count, "context_tokens": [number * 10 for number in numbers]}
    return {"first": first, "kind": ["decode"] * count, **sizes, "forward_ns": [number * 1000 for number in numbers]}


def before(*totals: int) -> dict[str, Any]:
    return {"engine": {"agents": [{"steps_total": total} for total in totals]}}


def test_only_steps_of_the_window() -> None:
    table = steps.of_window(before(3, 0), {"agents": [columns(0, 8), columns(0, 2)]})
    assert table is not None
    assert list(zip(table["agent"].to_pylist(), table["number"].to_pylist(), strict=True)) == [
        (0, 3), (0, 4), (0, 5), (0, 6), (0, 7), (1, 0), (1, 1),
    ]  # fmt: skip
    assert table["context_tokens"].to_pylist()[0] == 30 and table["forward_ns"].to_pylist()[4] == 7000


def test_steps_that_the_server_has_forgotten_are_missing_by_number() -> None:
    table = steps.of_window(before(3), {"agents": [columns(5, 2)]})
    assert table is not None and table["number"].to_pylist() == [5, 6]


def test_a_window_without_steps_is_an_empty_table(tmp_path: Path) -> None:
    table = steps.of_window(before(8), {"agents": [columns(0, 8)]})
    assert table is not None and len(table) == 0
    steps.write(tmp_path / steps.FILE_NAME, table)
    assert pq.read_table(tmp_path / steps.FILE_NAME).column_names[:3] == ["agent", "number", "kind"]
    assert [path.name for path in tmp_path.iterdir()] == [steps.FILE_NAME]


def test_a_server_that_tells_nothing() -> None:
    assert steps.of_window(None, {"agents": [columns(0, 8)]}) is None
    assert steps.of_window(before(1), None) is None
    assert steps.is_page({"agents": [columns(0, 2)]})
    assert not steps.is_page({"steps": []}) and not steps.is_page({"agents": [{"first": 0, "kind": "decode"}]})
