"""Time series of a run as one tidy Parquet file: metric, time_s since the run's start, value. It knows no MLflow."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from harness import whole_file

SCHEMA = pa.schema([("metric", pa.string()), ("time_s", pa.float64()), ("value", pa.float64())])


class Sample(NamedTuple):
    """One value of one series."""

    metric: str  # such as "output_tokens_per_s"
    time_s: float  # since the run's start
    value: float


def write(path: Path, samples: Iterable[Sample]) -> None:
    """Write all samples, whole or not at all."""
    columns = list(zip(*samples, strict=True)) or [(), (), ()]
    table = pa.table([pa.array(column, kind.type) for column, kind in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)
    with whole_file.writing(path) as partial:
        pq.write_table(table, partial)


def read(path: Path) -> list[Sample]:
    """Read them back in the order written."""
    columns = pq.read_table(path, schema=SCHEMA).to_pydict()
    return [Sample(*row) for row in zip(columns["metric"], columns["time_s"], columns["value"], strict=True)]
