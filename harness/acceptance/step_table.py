"""The steps of all timed points of a run, and where their time went. It fits nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from harness.measure.percentiles import REPORTED
from harness.measure.step_figures import percentiles_ms
from harness.observe import steps
from harness.run_folder import STEPS, point_folders

_SIZES = ("num_seqs", "num_tokens", "context_tokens")


def read(run_dir: Path) -> dict[str, pa.Table]:
    """Every steps.parquet of the run, by the folder it lies in ("." for the run's own)."""
    paths = [folder / STEPS for folder in (run_dir, *point_folders(run_dir))]
    return {str(path.parent.relative_to(run_dir)): pq.read_table(path) for path in paths if path.is_file()}


def column(table: pa.Table, name: str) -> NDArray[np.float64]:
    """float64 [num_steps]."""
    values: NDArray[np.float64] = table[name].to_numpy().astype(np.float64)
    return values


def breakdown(tables: dict[str, pa.Table]) -> list[dict[str, Any]]:
    """Per point and kind of step: how many, how large, and percentiles of each part in ms."""
    return [
        {"point": point, "kind": kind, "num_steps": len(one_kind), **_figures(one_kind)}
        for point, table in tables.items()
        for kind in steps.KINDS
        if len(one_kind := steps.of_kind(table, kind))
    ]


def _figures(one_kind: pa.Table) -> dict[str, float]:
    figures = {f"mean_{size}": round(float(column(one_kind, size).mean()), 2) for size in _SIZES}
    for part, values_ms in percentiles_ms(one_kind, REPORTED).items():
        figures |= {f"{part}_ms_p{p}": round(value_ms, 4) for p, value_ms in zip(REPORTED, values_ms, strict=True)}
    return figures
