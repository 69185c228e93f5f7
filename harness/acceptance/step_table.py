"""The steps of all timed points of a run, and where their time went. It fits nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from harness.run_folder import STEPS, point_folders

_SIZES = ("num_seqs", "num_tokens", "context_tokens")
_PARTS = ("plan", "link_out", "agent_pre", "forward", "sample", "link_back", "publish", "device_gap", "step")
_PERCENTILES = (50, 90, 99)


def read(run_dir: Path) -> dict[str, pa.Table]:
    """Every steps.parquet of the run, by the folder it lies in ("." for the run's own)."""
    paths = [folder / STEPS for folder in (run_dir, *point_folders(run_dir))]
    return {str(path.parent.relative_to(run_dir)): pq.read_table(path) for path in paths if path.is_file()}


def column(table: pa.Table, name: str) -> NDArray[np.float64]:
    """float64 [num_steps]."""
    values: NDArray[np.float64] = table[name].to_numpy().astype(np.float64)
    return values


def of_kind(table: pa.Table, kind: str) -> pa.Table:
    """The steps of one kind."""
    return table.filter(np.asarray(table["kind"].to_pylist()) == kind)


def breakdown(tables: dict[str, pa.Table]) -> list[dict[str, Any]]:
    """Per point and kind of step: how many, how large, and percentiles of each part in ms."""
    return [
        {"point": point, "kind": kind, "num_steps": len(steps), **_figures(steps)}
        for point, table in tables.items()
        for kind in ("prefill", "decode")
        if len(steps := of_kind(table, kind))
    ]


def _figures(steps: pa.Table) -> dict[str, float]:
    figures = {f"mean_{size}": round(float(column(steps, size).mean()), 2) for size in _SIZES}
    for part in _PARTS:
        if f"{part}_ns" in steps.column_names:
            values = np.percentile(column(steps, f"{part}_ns") / 1e6, _PERCENTILES)
            names = [f"{part}_ms_p{percentile}" for percentile in _PERCENTILES]
            figures |= {name: round(float(value), 4) for name, value in zip(names, values, strict=True)}
    return figures
