"""Looks in a run folder for what may or may not be there: step times and the table of logits rows.

Missing or unreadable files give an empty result: a report is written of what there is.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from harness.measure.step_figures import percentiles_ms
from harness.observe import steps
from harness.run_folder import ACCURACY, STEPS

_OCCUPANCY = ("occupancy", "batch_size")
_DIFFERENCE = ("max_abs_diff", "max_abs")


def step_times(folder: Path | None) -> dict[str, dict[str, float]]:
    """Median of each part of a step in ms, by kind of step, of the steps of a window; {} if there are none."""
    table = steps.read(folder / STEPS) if folder else None
    if table is None:
        return {}
    of_kinds = {kind: percentiles_ms(steps.of_kind(table, kind), (50,)) for kind in steps.KINDS}
    whole = (steps.STEP, steps.DEVICE_GAP)
    return {
        kind: {part: median for part, (median,) in found.items() if part not in whole}
        for kind, found in of_kinds.items()
        if found
    }


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
