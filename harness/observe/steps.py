"""The server's steps one by one: those of one timed window, as a table. It asks no server and fits nothing.

Columns of steps.parquet: agent, number (of the step since the agent's engine started), kind ("prefill" or "decode"),
ended_s (when its reply was read, since the window's start), num_seqs, num_tokens (fed in this step), context_tokens (in
the cache once it has run, all sequences together), num_waiting and kv_blocks_used (requests in the queue and blocks
held once it was done), kv_blocks_total, and times in ns under the names that the server's /stats/steps page gives them:
of the whole step (step_ns), and of its parts in the order in which they follow each other (forward_ns, sample_ns, …).
Of these the harness knows three by name: the whole step, the forward pass, and device_gap, in which the device had
nothing to do though there was work. The parts of a pipelined step overlap with those of its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from harness import whole_file

KINDS = ("prefill", "decode")
STEP, FORWARD, DEVICE_GAP = "step", "forward", "device_gap"
_NEEDED = ("kind", "num_seqs", "num_tokens", "context_tokens", "forward_ns")

# Those of older servers lack some.
_OF_TIMES = {"agent", "kind", "ended_s", "step_ns", "num_seqs", "num_waiting", "kv_blocks_used", "kv_blocks_total"}


@dataclass(frozen=True)
class StepsPage:
    """A /stats/steps page. clock_offset_ns: to be added to the server's clock to get CLOCK_MONOTONIC here."""

    agents: list[dict[str, Any]]
    clock_offset_ns: int


def read_page(page: dict[str, Any] | None, asked_ns: int, answered_ns: int) -> StepsPage | None:
    """The page with the offset of its clock, from when it was asked for and answered here; None if it is not one.

    On the same machine both clocks are one, and the server's reading lies between ours. Of another machine's clock the
    offset is known to within the time that the question took.
    """
    agents = page.get("agents") if page is not None else None
    if page is None or not isinstance(agents, list) or not all(map(_is_agent, agents)):
        return None
    server_ns = page.get("now_ns")
    if not isinstance(server_ns, int) or asked_ns <= server_ns <= answered_ns:
        return StepsPage(agents, 0)
    return StepsPage(agents, asked_ns - server_ns)


def of_window(before: dict[str, Any] | None, page: StepsPage | None, start_ns: int) -> pa.Table | None:
    """The steps since the /stats page `before`, from a /stats/steps page read after the window; None if none are told.

    Steps that the server no longer kept are missing: their numbers are. start_ns: of the window, on CLOCK_MONOTONIC.
    """
    if before is None or page is None:
        return None
    pairs = enumerate(zip(before["engine"].get("agents", []), page.agents, strict=False))
    tables = [_of_agent(index, old, new, start_ns - page.clock_offset_ns) for index, (old, new) in pairs]
    return pa.concat_tables(tables) if tables else None


def _of_agent(agent: int, before: dict[str, Any], columns: dict[str, Any], start_ns: int) -> pa.Table:
    """One agent's steps after those that `before` counted; `columns` holds the newest, from number `first` on."""
    first = int(columns["first"])
    count = len(columns["kind"])
    values = {name: column for name, column in columns.items() if name not in ("first", "ended_ns")}
    values = {"agent": [agent] * count, "number": list(range(first, first + count)), **values}
    if "ended_ns" in columns:
        values["ended_s"] = pc.divide(pc.subtract(pa.array(columns["ended_ns"], pa.int64()), start_ns), 1e9)
    if "kv_blocks_total" in before:
        values["kv_blocks_total"] = [int(before["kv_blocks_total"])] * count
    table = pa.table(values)
    return table.slice(min(max(0, int(before.get("steps_total", 0)) - first), count))


def write(path: Path, table: pa.Table) -> None:
    """Write the table, whole or not at all."""
    with whole_file.writing(path) as partial:
        pq.write_table(table, partial)


def read(path: Path) -> pa.Table | None:
    """The table back; None if there is none that can be read."""
    try:
        return pq.read_table(path) if path.is_file() else None
    except (OSError, pa.ArrowException):
        return None


def parts(table: pa.Table) -> list[str]:
    """What the steps tell a time of: "step" and its parts, in the server's order."""
    return [name.removesuffix("_ns") for name in table.column_names if name.endswith("_ns")]


def of_kind(table: pa.Table, kind: str) -> pa.Table:
    """The steps of one kind."""
    return table.filter(pc.equal(table["kind"], kind))


def tell_times(table: pa.Table) -> bool:
    """Whether there are steps that say when they ended and what they left behind."""
    return len(table) > 0 and set(table.column_names) >= _OF_TIMES


def num_blocks(table: pa.Table) -> int:
    """KV blocks of all agents together."""
    totals = table.group_by("agent").aggregate([("kv_blocks_total", "max")])
    return int(pc.sum(totals["kv_blocks_total_max"]).as_py())


def _is_agent(agent: Any) -> bool:
    numbered = isinstance(agent, dict) and isinstance(agent.get("first"), int)
    return numbered and all(isinstance(agent.get(name), list) for name in _NEEDED)
