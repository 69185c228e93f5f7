"""Quantities over time: the one form in which they are computed, kept, drawn and sent to MLflow.

Their Parquet file has one row per value: metric, unit, time_s, value.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from harness import whole_file

Values = NDArray[np.float64]
SCHEMA = pa.schema([("metric", pa.string()), ("unit", pa.string()), ("time_s", pa.float64()), ("value", pa.float64())])


@dataclass(frozen=True, eq=False)
class TimeSeries:
    """One quantity. times_s, values: [num_values]; a mean over an interval stands at the interval's end."""

    name: str  # such as "output_tokens_per_s"
    unit: str  # such as "tokens/s"; "" = not known
    times_s: Values  # since the start of the window
    values: Values


def write(path: Path, series: Iterable[TimeSeries]) -> None:
    """Write one series after the other; the file appears whole or not at all."""
    tables = [
        pa.table([[one.name] * len(one.values), [one.unit] * len(one.values), one.times_s, one.values], schema=SCHEMA)
        for one in series
    ]
    with whole_file.writing(path) as partial:
        pq.write_table(pa.concat_tables([SCHEMA.empty_table(), *tables]), partial)


def read(path: Path) -> list[TimeSeries]:
    """Read them back in the order written. Raises OSError or ArrowException for a file that cannot be read."""
    table = pq.read_table(path, schema=SCHEMA)
    names = np.asarray(table["metric"].to_pylist(), dtype=object)
    return [
        TimeSeries(name, of_name["unit"][0].as_py() or "", of_name["time_s"].to_numpy(), of_name["value"].to_numpy())
        for name in dict.fromkeys(names)
        if (of_name := table.filter(names == name))
    ]
