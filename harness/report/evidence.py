"""Looks in a run folder for what may or may not be there: step times and the table of logits rows.

Missing or unreadable files give an empty result: a report is written of what there is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from harness.run_folder import ACCURACY, SERVER_STATS

PARTS = ("plan", "link_out", "agent_pre", "forward", "sample", "link_back", "publish")  # of a step, in order
_KINDS = ("prefill", "decode")
_OCCUPANCY = ("occupancy", "batch_size")
_DIFFERENCE = ("max_abs_diff", "max_abs")


def step_times(folder: Path | None) -> dict[str, dict[str, float]]:
    """Median of each part of a step in ms, by kind of step, from the server's statistics; {} if there are none."""
    try:
        content = orjson.loads((folder / SERVER_STATS).read_bytes()) if folder else {}
    except (OSError, orjson.JSONDecodeError):
        return {}
    found = list(_summaries(content))
    last = found[-1] if found else {}  # the reading after the window, which comes last
    return {kind: parts for kind in _KINDS if kind in last and (parts := _medians_ms(last[kind]))}


def accuracy_rows(folder: Path | None) -> dict[str, NDArray[np.float64]]:
    """Columns position, occupancy, max_abs_diff, passed (1 or 0; NaN = unknown), float64 [num_rows]; {} if none."""
    if folder is None or not (folder / ACCURACY).is_file():
        return {}
    try:
        table = pq.read_table(folder / ACCURACY)
    except (OSError, pa.ArrowException):
        return {}
    columns = {
        "position": _numbers(table, ("position",)),
        "occupancy": _numbers(table, _OCCUPANCY),
        "max_abs_diff": _numbers(table, _DIFFERENCE),
        "passed": _passed(table),
    }
    known = {name: values for name, values in columns.items() if values is not None}
    return known if {"position", "max_abs_diff"} <= known.keys() else {}


def _numbers(table: pa.Table, names: tuple[str, ...]) -> NDArray[np.float64] | None:
    name = next((name for name in names if name in table.column_names), None)
    if name is None:
        return None
    return np.asarray([np.nan if value is None else value for value in table[name].to_pylist()], dtype=np.float64)


def _passed(table: pa.Table) -> NDArray[np.float64]:
    """From a column `passed`, or `status`, whose value for a good row is `passed` (or 0)."""
    if "passed" in table.column_names:
        return np.asarray([float(bool(value)) for value in table["passed"].to_pylist()])
    if "status" in table.column_names:
        return np.asarray([float(value in ("passed", 0)) for value in table["status"].to_pylist()])
    return np.ones(len(table))


def _summaries(node: Any) -> Iterator[Mapping[str, Any]]:
    """Every mapping below `node` that describes steps by kind, the outermost first."""
    if isinstance(node, dict):
        if any(isinstance(node.get(kind), dict) and "forward_us" in node[kind] for kind in _KINDS):
            yield node
        for value in node.values():
            yield from _summaries(value)
    elif isinstance(node, list):
        for value in node:
            yield from _summaries(value)


def _medians_ms(summary: Mapping[str, Any]) -> dict[str, float]:
    found = {part: summary.get(f"{part}_us") for part in PARTS}
    return {part: value["p50"] / 1e3 for part, value in found.items() if isinstance(value, dict) and "p50" in value}
