"""Series survive their file; older files, without units, are read too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness import time_series
from harness.time_series import TimeSeries


def rows(series: list[TimeSeries]) -> list[tuple[str, str, list[float], list[float]]]:
    return [(one.name, one.unit, one.times_s.tolist(), one.values.tolist()) for one in series]


def test_series_come_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "series.parquet"
    queue = TimeSeries("queue_depth", "requests", np.array([0.5, 1.5]), np.array([3.0, 4.0]))
    tokens = TimeSeries("a_rate", "tokens/s", np.array([0.5]), np.array([97.25]))
    time_series.write(path, [queue, tokens])
    assert rows(time_series.read(path)) == rows([queue, tokens])
    assert pq.read_table(path).column_names == ["metric", "unit", "time_s", "value"]
    time_series.write(path, [])
    assert time_series.read(path) == []
    assert [one.name for one in tmp_path.iterdir()] == ["series.parquet"]


def test_a_file_without_units_whose_series_alternate(tmp_path: Path) -> None:
    columns = {"metric": ["a", "b", "a"], "time_s": [0.0, 0.0, 1.0], "value": [1.0, 2.0, 3.0]}
    pq.write_table(pa.table(columns), tmp_path / "old.parquet")
    assert rows(time_series.read(tmp_path / "old.parquet")) == [
        ("a", "", [0.0, 1.0], [1.0, 3.0]),
        ("b", "", [0.0], [2.0]),
    ]
