"""The table of a window's steps: only those of the window, numbered, of every agent; other servers' pages are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from harness.observe import steps
from harness.observe.steps import StepsPage
from harness.run_folder import STEPS


def columns(first: int, count: int) -> dict[str, Any]:
    numbers = list(range(first, first + count))
    sizes = {"num_seqs": [1] * count, "num_tokens": [1] * count, "context_tokens": [number * 10 for number in numbers]}
    return {"first": first, "kind": ["decode"] * count, **sizes, "forward_ns": [number * 1000 for number in numbers]}


def page(*agents: dict[str, Any]) -> StepsPage:
    return StepsPage(list(agents), 0)


def before(*totals: int) -> dict[str, Any]:
    return {"engine": {"agents": [{"steps_total": total} for total in totals]}}


def test_only_steps_of_the_window() -> None:
    table = steps.of_window(before(3, 0), page(columns(0, 8), columns(0, 2)), 0)
    assert table is not None
    assert list(zip(table["agent"].to_pylist(), table["number"].to_pylist(), strict=True)) == [
        (0, 3), (0, 4), (0, 5), (0, 6), (0, 7), (1, 0), (1, 1),
    ]  # fmt: skip
    assert table["context_tokens"].to_pylist()[0] == 30 and table["forward_ns"].to_pylist()[4] == 7000


def test_steps_that_the_server_has_forgotten_are_missing_by_number() -> None:
    table = steps.of_window(before(3), page(columns(5, 2)), 0)
    assert table is not None and table["number"].to_pylist() == [5, 6]


def test_a_window_without_steps_is_an_empty_table(tmp_path: Path) -> None:
    table = steps.of_window(before(8), page(columns(0, 8)), 0)
    assert table is not None and len(table) == 0
    steps.write(tmp_path / STEPS, table)
    assert pq.read_table(tmp_path / STEPS).column_names[:3] == ["agent", "number", "kind"]
    assert [path.name for path in tmp_path.iterdir()] == [STEPS]


def test_times_are_of_the_window_in_seconds() -> None:
    ends = {"ended_ns": [5_000_000_000 + number * 1_000_000 for number in range(3)]}
    told = StepsPage([columns(0, 3) | ends], clock_offset_ns=2_000_000_000)
    table = steps.of_window({"engine": {"agents": [{"steps_total": 1, "kv_blocks_total": 7}]}}, told, 4_000_000_000)
    assert table is not None
    assert table["ended_s"].to_pylist() == [3.001, 3.002] and table["kv_blocks_total"].to_pylist() == [7, 7]
    assert "ended_ns" not in table.column_names


def test_another_machine_s_clock_is_told_from_ours() -> None:
    told = {"agents": [columns(0, 2)]}
    for now_ns, offset_ns in ((105, 0), (10, 90), (1000, -900)):
        found = steps.read_page(told | {"now_ns": now_ns}, asked_ns=100, answered_ns=110)
        assert found is not None and found.clock_offset_ns == offset_ns
    without = steps.read_page(told, 100, 110)
    assert without is not None and without.clock_offset_ns == 0


def test_a_server_that_tells_nothing() -> None:
    assert steps.of_window(None, page(columns(0, 8)), 0) is None
    assert steps.of_window(before(1), None, 0) is None
    for other in (None, {"steps": []}, {"agents": [{"first": 0, "kind": "decode"}]}):
        assert steps.read_page(other, 0, 1) is None
