"""The server's steps one by one: those of one timed window, as a table. It asks no server and fits nothing.

Columns of steps.parquet: agent, number (of the step since the agent's engine started), kind ("prefill" or "decode"),
num_seqs, num_tokens (fed in this step), context_tokens (in the cache once it has run, all sequences together), and the
time of each part in ns as the server's /stats/steps page names them (forward_ns, sample_ns, …).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

FILE_NAME = "steps.parquet"
_NEEDED = ("kind", "num_seqs", "num_tokens", "context_tokens", "forward_ns")


def of_window(before: dict[str, Any] | None, page: dict[str, Any] | None) -> pa.Table | None:
    """The steps since the /stats page `before`, from a /stats/steps page read after the window; None if none are told.

    Steps that the server no longer kept are missing: their numbers are.
    """
    if before is None or page is None:
        return None
    pairs = zip(before["engine"].get("agents", []), page["agents"], strict=False)
    tables = [_of_agent(index, int(old.get("steps_total", 0)), new) for index, (old, new) in enumerate(pairs)]
    return pa.concat_tables(tables) if tables else None


def _of_agent(agent: int, num_before: int, columns: dict[str, Any]) -> pa.Table:
    """One agent's steps from number `num_before` on; `columns` holds the newest, from number `first` on."""
    first = int(columns["first"])
    count = len(columns["kind"])
    values = {name: column for name, column in columns.items() if name != "first"}
    table = pa.table({"agent": [agent] * count, "number": list(range(first, first + count)), **values})
    return table.slice(min(max(0, num_before - first), count))


def write(path: Path, table: pa.Table) -> None:
    """Write the table, whole or not at all."""
    partial = path.with_suffix(".part")
    pq.write_table(table, partial)
    partial.replace(path)


def is_page(page: dict[str, Any]) -> bool:
    """Whether this is a /stats/steps page and not something else by that name."""
    agents = page.get("agents")
    return isinstance(agents, list) and all(map(_is_agent, agents))


def _is_agent(agent: Any) -> bool:
    known = isinstance(agent, dict) and isinstance(agent.get("first"), int)
    return known and all(isinstance(agent.get(name), list) for name in _NEEDED)
