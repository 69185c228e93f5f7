"""Compare two folders of captured logits, on all cores, a few rows in memory at a time.

It knows nothing of servers, of how the rows were made, or of what pass rate is demanded.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.accuracy.capture import Capture, read_folder
from harness.accuracy.closeness import Closeness, measure, scratch_for
from harness.accuracy.distribution import kl_divergence, top_tokens_of_two
from harness.accuracy.errors import UnusableInput
from harness.accuracy.metrics import AccuracyMetrics, summarise
from harness.accuracy.plan import SPAN_ELEMENTS, Span, plan
from harness.accuracy.table import RowStatus, RowTable
from harness.accuracy.text import match_texts
from harness.accuracy.ulp import ServedDtype, max_ulp, ulp_distance

Float32 = NDArray[np.float32]
READ_ELEMENTS = 262_144  # 1 MiB of float32 in memory per side and worker, or one row if that is longer
PASSED, FAILED, NAN = int(RowStatus.passed), int(RowStatus.failed), int(RowStatus.nan)


@dataclass
class Comparison:
    """Every row's figures, and their summary."""

    table: RowTable
    metrics: AccuracyMetrics


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What counts as close, and what is measured besides. Defaults are the contest's."""

    atol: float = 5e-3
    rtol: float = 1e-5
    served_dtype: ServedDtype = ServedDtype.float32  # for the distance in units in the last place
    quick: bool = False  # allclose, largest and mean difference only
    every: int = 1  # rows at positions divisible by this count, others are left out on both sides


def compare_folders(
    base: Path,
    new: Path,
    tolerance: Tolerance | None = None,
    num_workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Compare the captures in `new` with those in `base`, row by row, matched by prompt id and position.

    `progress(rows done, rows to compare)` is called from the calling thread. `num_workers` 0 means one per usable core:
    threads, since NumPy releases the interpreter lock within each block. Raises UnusableInput if either folder or any
    file in it cannot be read as captures, or if the two have no row in common.
    """
    return compare_captures(read_folder(base), read_folder(new), tolerance or Tolerance(), num_workers, progress)


def compare_captures(
    base: dict[str, Capture],
    new: dict[str, Capture],
    tolerance: Tolerance,
    num_workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """The same for captures already read."""
    table, spans = plan(base, new, tolerance.every)
    if not spans and not table.has_status(RowStatus.shape, RowStatus.dtype, RowStatus.history).any():
        folder = next(iter(new.values())).logits.path.parent
        raise UnusableInput(folder, "has no (prompt id, position) in common with the base: nothing to compare")
    total = sum(span.num_rows for span in spans)
    done = 0
    pool = ThreadPoolExecutor(num_workers or len(os.sched_getaffinity(0)))
    try:
        for num_rows in pool.map(lambda batch: _compare_spans(batch, table, tolerance), _batches(spans)):
            done += num_rows
            if progress:
                progress(done, total)
    finally:
        pool.shutdown(cancel_futures=True)
    return Comparison(table, summarise(table, tolerance.atol, tolerance.rtol, match_texts(base, new)))


def _batches(spans: Iterable[Span]) -> Iterator[list[Span]]:
    """Short spans together, so that handing them to a thread costs little beside comparing them."""
    batch: list[Span] = []
    num_elements = 0
    for span in spans:
        batch.append(span)
        num_elements += span.num_rows * span.new.logits.shape[1]
        if num_elements >= SPAN_ELEMENTS // 2:
            yield batch
            batch, num_elements = [], 0
    if batch:
        yield batch


def _compare_spans(spans: list[Span], table: RowTable, tolerance: Tolerance) -> int:
    """Fill the spans' lines of the table, and return their number. Spans don't overlap, so threads need no lock."""
    buffers: list[Float32] = []
    for span in spans:
        num_columns = span.new.logits.shape[1]
        if not buffers or buffers[0].shape[1] != num_columns:
            shape = max(1, READ_ELEMENTS // max(1, num_columns)), num_columns
            buffers, scratch = [np.empty(shape, np.float32) for _ in range(2)], scratch_for(num_columns)
        base_fd = os.open(span.base.logits.path, os.O_RDONLY)
        new_fd = os.open(span.new.logits.path, os.O_RDONLY)
        try:
            for start in range(0, span.num_rows, len(buffers[0])):
                base, new = (buffer[: span.num_rows - start] for buffer in buffers)
                span.base.logits.read_rows(base_fd, span.base_start + start, base)
                span.new.logits.read_rows(new_fd, span.new_start + start, new)
                closeness = measure(new, base, tolerance.atol, tolerance.rtol, scratch)
                lines = slice(span.table_start + start, span.table_start + start + len(new))
                _note(table, lines, closeness, num_columns)
                _compare_rows(new, base, lines.start, table, tolerance)
        finally:
            os.close(base_fd)
            os.close(new_fd)
    return sum(span.num_rows for span in spans)


def _note(table: RowTable, lines: slice, closeness: Closeness, num_columns: int) -> None:
    table.status[lines] = np.where(closeness.has_nan, NAN, np.where(closeness.allclose, PASSED, FAILED))
    table.max_abs[lines] = closeness.max_abs
    table.mean_abs[lines] = closeness.sum_abs / np.float32(max(1, num_columns))


def _compare_rows(new: Float32, base: Float32, line: int, table: RowTable, tolerance: Tolerance) -> None:
    """Add to the lines from `line` on, one per row, what closeness does not tell."""
    largest = table.max_abs[line : line + len(new)]
    for row in np.flatnonzero(largest == 0):
        table.bit_equal[line + row] = np.array_equal(new[row].view(np.uint32), base[row].view(np.uint32))
    if tolerance.quick and new.size:
        worst = int(largest.argmax())
        table.worst_token[line + worst] = _worst_token(new[worst], base[worst])
    elif not tolerance.quick:
        for row in np.flatnonzero(table.status[line : line + len(new)] != NAN):
            _compare_row(new[row], base[row], line + row, table, tolerance.served_dtype)


def _compare_row(new: Float32, base: Float32, line: int, table: RowTable, dtype: ServedDtype) -> None:
    table.worst_token[line] = worst = _worst_token(new, base)
    if table.bit_equal[line]:
        table.max_ulp[line], table.worst_ulp[line], table.kl[line] = 0, 0, 0
        table.top1_equal[line], table.top5_share[line] = 1, 1
        return
    table.max_ulp[line] = max_ulp(new, base, dtype)
    table.worst_ulp[line] = ulp_distance(new[worst : worst + 1], base[worst : worst + 1], dtype)[0]
    table.kl[line] = kl_divergence(base, new)
    top_new, top_base = top_tokens_of_two(new, base, 5, float(table.max_abs[line]))
    table.top1_equal[line] = top_new[0] == top_base[0]
    table.top5_share[line] = len(set(top_new) & set(top_base)) / len(top_base)


def _worst_token(new: Float32, base: Float32) -> int:
    with np.errstate(invalid="ignore"):
        difference = np.abs(new - base)
    worst = int(difference.argmax())
    return worst if difference[worst] == difference[worst] else int(np.nan_to_num(difference).argmax())
