"""Every logits row's figures as one tidy Parquet file, for reports and notebooks. It computes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from harness import whole_file
from harness.accuracy.table import RowStatus, RowTable


def write_rows(path: Path, table: RowTable) -> None:
    """One line per row of either folder, by prompt id, then position; whole or not at all.

    Columns: prompt_id, position (of the token fed), occupancy (sequences in the step that made the row), status
    (harness.accuracy.table.RowStatus), passed, bit_equal, max_abs_diff, mean_abs_diff, worst_token_id, max_ulp, kl
    (nats), top1 (same top token), top5 (share of five). What was not measured is null.
    """
    known = table.status != RowStatus.missing
    names = pa.array(table.prompt_ids, pa.string())
    columns = {
        "prompt_id": pa.DictionaryArray.from_arrays(pa.array(table.prompt), names),
        "position": pa.array(table.position),
        "occupancy": pa.array(table.batch_size, mask=~known),
        "status": pa.array([RowStatus(value).name for value in table.status.tolist()], pa.string()),
        "passed": pa.array(table.has_status(RowStatus.passed)),
        "bit_equal": pa.array(table.bit_equal),
        "max_abs_diff": _nullable(table.max_abs),
        "mean_abs_diff": _nullable(table.mean_abs),
        "worst_token_id": pa.array(table.worst_token, mask=table.worst_token < 0),
        "max_ulp": _nullable(table.max_ulp),
        "kl": _nullable(table.kl),
        "top1": pa.array(table.top1_equal == 1, mask=np.isnan(table.top1_equal)),
        "top5": _nullable(table.top5_share),
    }
    with whole_file.writing(path) as partial:
        pq.write_table(pa.table(columns), partial)


def _nullable(values: NDArray[Any]) -> Any:
    return pa.array(values, mask=np.isnan(values))
