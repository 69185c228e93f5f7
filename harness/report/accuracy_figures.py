"""Charts of the logits rows of a run: by position, and by the batch they were computed in. It judges nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from harness.charts import FAILED, Dots, Figure, axis, colour, number, scatter
from harness.run_folder import ACCURACY

_BY = {"position": "position in the sequence", "occupancy": "sequences in the step"}
_COLUMNS = (*_BY, "max_abs_diff", "passed")


def accuracy(folder: Path | None, atol: float | None) -> list[Figure]:
    """Largest difference of each row against its position and its batch; nothing of a file that cannot be read."""
    rows = read_rows(folder)
    return [figure for by, label in _BY.items() if (figure := _by(rows, by, label, atol))] if rows else []


def read_rows(folder: Path | None) -> dict[str, NDArray[np.float64]]:
    """Columns position, occupancy, max_abs_diff, passed (1 or 0), float64 [num_rows], NaN = unknown; {} if none."""
    if folder is None or not (folder / ACCURACY).is_file():
        return {}
    try:
        table = pq.read_table(folder / ACCURACY, columns=list(_COLUMNS))
    except (OSError, pa.ArrowException):
        return {}
    known = set(_COLUMNS) <= set(table.column_names)
    return {name: np.asarray(table[name].to_pandas(), dtype=np.float64) for name in _COLUMNS} if known else {}


def _by(rows: dict[str, NDArray[np.float64]], by: str, label: str, atol: float | None) -> Figure | None:
    known = np.isfinite(rows["max_abs_diff"]) & np.isfinite(rows[by])
    xs, ys, passed = rows[by][known], rows["max_abs_diff"][known], rows["passed"][known] > 0
    if not len(xs):
        return None
    limit = [atol] if atol else []
    smallest = min((value for value in [*ys, *limit] if value > 0), default=1.0)
    shown = np.maximum(ys, smallest / 10)  # a logarithmic axis has no 0
    y = axis("largest |difference|", [*shown, *limit], log=True)
    texts = np.asarray([f"{by} {at:g}: {number(value)}" for at, value in zip(xs, ys, strict=True)])
    groups = {
        "all-close": Dots(xs[passed], shown[passed], texts[passed].tolist(), colour(0)),
        "not": Dots(xs[~passed], shown[~passed], texts[~passed].tolist(), FAILED, crosses=True),
    }
    note = "exact rows are drawn at the lower edge" if (ys == 0).any() else ""
    level = (atol, f"atol {atol:g}") if atol else None
    return scatter(f"Accuracy by {by}", axis(label, xs, zero=by != "position"), y, groups, note, level=level)
