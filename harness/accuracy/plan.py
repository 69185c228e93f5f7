"""Which row of the new folder answers which row of the base: by prompt id and position, never by order or time.

Pure: it reads descriptions of captures and touches no logits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from harness.accuracy.capture import Capture
from harness.accuracy.table import RowStatus, RowTable, empty_table

Positions = np.ndarray[tuple[int], np.dtype[np.int64]]
SPAN_ELEMENTS = 2_097_152  # float32 elements that one worker compares before it takes the next


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive rows of one request that lie in the same order in both files and in the table."""

    base: Capture
    new: Capture
    base_start: int
    new_start: int
    table_start: int
    num_rows: int


def plan(base: Mapping[str, Capture], new: Mapping[str, Capture], every: int = 1) -> tuple[RowTable, list[Span]]:
    """Account for every row of both folders whose position is divisible by `every`, and list the spans to compare."""
    prompt_ids = sorted(base.keys() | new.keys())
    positions = [_union(base.get(name), new.get(name), every) for name in prompt_ids]
    table = empty_table(prompt_ids, sum(map(len, positions)))
    spans: list[Span] = []
    start = 0
    for index, (name, union) in enumerate(zip(prompt_ids, positions, strict=True)):
        rows = slice(start, start + len(union))
        table.prompt[rows] = index
        table.position[rows] = union
        if name in new:
            kept = np.array(new[name].positions, np.int64) % every == 0
            at = start + np.searchsorted(union, np.array(new[name].positions, np.int64)[kept])
            table.batch_size[at] = np.array(new[name].batch_sizes, np.int32)[kept]
            table.status[at] = RowStatus.extra
        if name in base and name in new:
            spans += _pair(table, base[name], new[name], start, union)
        start = rows.stop
    return table, spans


def _union(base: Capture | None, new: Capture | None, every: int) -> Positions:
    ours, theirs = (np.array(capture.positions if capture else [], np.int64) for capture in (base, new))
    union: Positions = np.union1d(ours, theirs)
    kept: Positions = union[union % every == 0]
    return kept


def _pair(table: RowTable, base: Capture, new: Capture, start: int, union: Positions) -> list[Span]:
    """Compare rows at positions of the union that both have; `start` is the union's first line in the table."""
    positions, in_base, in_new = np.intersect1d(base.positions, new.positions, assume_unique=True, return_indices=True)
    kept = np.isin(positions, union, assume_unique=True)
    positions, in_base, in_new = positions[kept].astype(np.int64), in_base[kept], in_new[kept]
    at = start + np.searchsorted(union, positions)
    if base.logits.shape[1] != new.logits.shape[1]:
        table.status[at] = RowStatus.shape
        return []
    if base.logits.dtype != np.float32 or new.logits.dtype != np.float32:
        table.status[at] = RowStatus.dtype
        return []
    same = positions < common_prefix(base.token_ids, new.token_ids)
    table.status[at[~same]] = RowStatus.history
    at, in_base, in_new = at[same], in_base[same], in_new[same]
    longest = max(1, SPAN_ELEMENTS // max(1, new.logits.shape[1]))
    breaks = np.flatnonzero((np.diff(in_base) != 1) | (np.diff(in_new) != 1)) + 1
    edges = [0, *breaks.tolist(), len(at)]
    return [
        Span(base, new, int(in_base[first]), int(in_new[first]), int(at[first]), min(longest, stop - first))
        for begin, stop in pairwise(edges)
        for first in range(begin, stop, longest)
    ]


def common_prefix(left: list[int], right: list[int]) -> int:
    """How many leading tokens two sequences share."""
    if left == right:
        return len(left)
    for index, (one, other) in enumerate(zip(left, right, strict=False)):
        if one != other:
            return index
    return min(len(left), len(right))
