"""A small table of steps made by hand."""

from __future__ import annotations

import pyarrow as pa

Row = tuple[float, str, int, int, int]  # ended_s, kind, num_seqs, num_waiting, kv_blocks_used


def table(rows: list[Row], agent: int = 0, total: int = 10, step_ms: int = 100) -> pa.Table:
    names = ("ended_s", "kind", "num_seqs", "num_waiting", "kv_blocks_used")
    columns = {name: [row[place] for row in rows] for place, name in enumerate(names)}
    constant = {"agent": agent, "kv_blocks_total": total, "step_ns": step_ms * 1_000_000}
    return pa.table(columns | {name: [value] * len(rows) for name, value in constant.items()})
