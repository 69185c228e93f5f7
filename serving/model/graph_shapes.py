"""Which compiled graph a step runs in, and how its arrays are padded to it. Pure: it knows no MindSpore.

A graph's shape is the number of rows and nothing else: neither batch nor block size nor the cache's size is in it. A
graph of fixed shape spares MindSpore the inference of every operator's shape, which matters for few rows.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from serving.link.step import Int32, StepRows

STATIC_ROWS = (1, 2, 4, 8, 16, 32)
ANY_ROWS = 0  # the dynamic graph
TABLE_ENTRIES = 8192  # of a graph of fixed shape; a step with more takes the dynamic one
_TABLES_FROM = 2  # entry 0 is the cache's number, entry 1 the table of padding rows: block 0


@dataclass(slots=True)
class GraphInputs:
    """Arrays as the network takes them."""

    input_ids: Int32  # [T, 1]
    context_lengths: Int32  # [T]
    tables: Int32  # flat: [1 + n] as kernels/operators.py has it; else one table per row [T, max_blocks]
    slots: Int32  # [T]
    starts: Int32  # [T] where a row's table starts in flat `tables`
    logits_rows: Int32  # [S], -1 = none

    def arrays(self) -> tuple[Int32, ...]:
        """In the order of StepGraph.construct."""
        return (self.input_ids, self.context_lengths, self.tables, self.slots, self.starts, self.logits_rows)


def choose(step: StepRows, available: tuple[int, ...]) -> int:
    """Rows of the smallest of the `available` graphs (ascending) that holds the step, or ANY_ROWS."""
    index = bisect_left(available, len(step.token_ids))
    small = step.block_tables.size <= TABLE_ENTRIES - _TABLES_FROM
    return available[index] if small and index < len(available) else ANY_ROWS


def flat(step: StepRows, num_rows: int, cache_number: int) -> GraphInputs:
    """For the kernels. Padding rows lie in block 0 and slot 0, which no sequence owns; their length is 1."""
    count = len(step.token_ids)
    starts = step.sequences * step.block_tables.shape[1] + _TABLES_FROM
    tables = np.zeros(TABLE_ENTRIES if num_rows else _TABLES_FROM + step.block_tables.size, np.int32)
    tables[0] = cache_number
    tables[_TABLES_FROM : _TABLES_FROM + step.block_tables.size] = step.block_tables.reshape(-1)
    total = num_rows or count
    return GraphInputs(
        _padded(step.token_ids, total, 0).reshape(-1, 1),
        _padded(step.context_lengths, total, 1),
        tables,
        _padded(step.slots, total, 0),
        _padded(starts, total, 1),
        _padded(step.logits_rows, num_rows or max(1, len(step.logits_rows)), -1),
    )


def tabled(step: StepRows) -> GraphInputs:
    """For MindFormers' own operators and their stand-ins: a block table per row. Always of the step's own size."""
    wanted = step.logits_rows if len(step.logits_rows) else np.zeros(1, np.int32)
    tables = step.block_tables[step.sequences]
    return GraphInputs(step.token_ids.reshape(-1, 1), step.context_lengths, tables, step.slots, step.sequences, wanted)


def pieces(step: StepRows, most_rows: int) -> Iterator[StepRows]:
    """The step in consecutive ones of at most `most_rows` rows: the same result, since rows meet in the cache alone."""
    for start in range(0, len(step.token_ids), most_rows):
        part = slice(start, start + most_rows)
        wanted = step.logits_rows[(step.logits_rows >= start) & (step.logits_rows < start + most_rows)] - start
        lengths = step.context_lengths[part]
        yield StepRows(step.token_ids[part], step.slots[part], lengths, step.sequences[part], step.block_tables, wanted)


def empty_step(num_rows: int) -> StepRows:
    """A step of padding alone, to compile and warm a graph with."""
    zeros, ones = np.zeros(num_rows, np.int32), np.ones(num_rows, np.int32)
    return StepRows(zeros, zeros, ones, zeros, np.zeros((1, 1), np.int32), np.arange(num_rows, dtype=np.int32))


def _padded(values: Int32, size: int, value: int) -> Int32:
    if len(values) == size:
        return values
    result: Int32 = np.full(size, value, np.int32)
    result[: len(values)] = values
    return result
