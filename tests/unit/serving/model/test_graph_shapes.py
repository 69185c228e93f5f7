"""Steps as rows: from today's batches, padded to a graph's shape, and cut in pieces."""

from __future__ import annotations

import numpy as np
import pytest

from serving.link.step import Int32, StepBatch, StepKind, StepRows, rows_of
from serving.model import graph_shapes
from serving.model.graph_shapes import ANY_ROWS, STATIC_ROWS, choose, flat, pieces, tabled


def int32(values: object) -> Int32:
    return np.asarray(values, np.int32)


# Sequence 0: three tokens from position 4; sequence 1: one token at position 6. Blocks of 4.
BATCH = StepBatch(
    StepKind.prefill, int32([11, 12, 13, 21]), int32([3, 1]), int32([7, 7]), int32([[5, 9], [2, 3]]),
    int32([36, 37, 38, 14]),
)  # fmt: skip


def test_a_batch_is_rows_whose_last_ones_are_wanted() -> None:
    step = rows_of(BATCH)
    assert step.context_lengths.tolist() == [5, 6, 7, 7]
    assert step.sequences.tolist() == [0, 0, 0, 1]
    assert step.logits_rows.tolist() == [2, 3]
    assert step.token_ids is BATCH.input_ids and step.slots is BATCH.slot_mapping
    assert {array.dtype for array in (step.context_lengths, step.sequences, step.logits_rows)} == {np.dtype(np.int32)}


def test_padding_rows_lie_in_block_0_and_slot_0_and_want_nothing() -> None:
    inputs = flat(rows_of(BATCH), 8, 77)
    assert inputs.input_ids.tolist() == [[11], [12], [13], [21], [0], [0], [0], [0]]
    assert inputs.context_lengths.tolist() == [5, 6, 7, 7, 1, 1, 1, 1]
    assert inputs.slots.tolist() == [36, 37, 38, 14, 0, 0, 0, 0]
    assert inputs.logits_rows.tolist() == [2, 3, -1, -1, -1, -1, -1, -1]
    assert inputs.starts.tolist() == [2, 2, 2, 4, 1, 1, 1, 1]
    assert inputs.tables[:6].tolist() == [77, 0, 5, 9, 2, 3] and not inputs.tables[6:].any()
    assert len(inputs.tables) == graph_shapes.TABLE_ENTRIES
    assert {array.dtype for array in inputs.arrays()} == {np.dtype(np.int32)}


def test_the_dynamic_graph_gets_no_padding_but_one_row_that_wants_nothing() -> None:
    step = rows_of(BATCH)
    inputs = flat(step, ANY_ROWS, 77)
    assert [array.shape for array in inputs.arrays()] == [(4, 1), (4,), (6,), (4,), (4,), (2,)]
    step.logits_rows = int32([])
    assert flat(step, ANY_ROWS, 77).logits_rows.tolist() == [-1]


def test_a_table_per_row_for_operators_that_take_one() -> None:
    assert tabled(rows_of(BATCH)).tables.tolist() == [[5, 9], [5, 9], [5, 9], [2, 3]]


@pytest.mark.parametrize(("num_rows", "expected"), [(1, 1), (3, 4), (4, 4), (17, 32), (32, 32), (33, ANY_ROWS)])
def test_the_smallest_graph_that_holds_the_step(num_rows: int, expected: int) -> None:
    step = graph_shapes.empty_step(num_rows)
    assert choose(step, STATIC_ROWS) == expected
    assert choose(step, ()) == ANY_ROWS  # while nothing else is compiled
    step.block_tables = np.zeros((num_rows, graph_shapes.TABLE_ENTRIES), np.int32)
    assert choose(step, STATIC_ROWS) == ANY_ROWS


def test_pieces_are_the_step_again() -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.integers(1, 9, 10).astype(np.int32) for _ in range(4)]
    step = StepRows(*arrays, np.zeros((9, 1), np.int32), int32([1, 4, 9]))
    found = list(pieces(step, 4))
    assert [len(piece.token_ids) for piece in found] == [4, 4, 2]
    assert [piece.logits_rows.tolist() for piece in found] == [[1], [0], [1]]
    for name in ("token_ids", "slots", "context_lengths", "sequences"):
        assert np.array_equal(np.concatenate([getattr(piece, name) for piece in found]), getattr(step, name))
