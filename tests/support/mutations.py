"""Mistakes that a serving stack can make, injected around any model: one sequence, one step, one wrong number.

The model itself stays right. Each mutation is what a real bug would have put into the step's arrays, or done to its
logits; `Mutant` waits for the victim's step and applies it there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from serving.link.step import Float32, Int32, Logits, Model, StepBatch, StepKind


@dataclass
class Victim:
    """The sequence whose prompt begins with `first_token` (no other does), at the step that feeds `position`."""

    first_token: int
    position: int
    block_size: int


BatchMutation = Callable[[StepBatch, int, int], StepBatch]  # (batch, victim's row, block size)
LogitsMutation = Callable[[Logits, int, int], Logits]  # (logits, victim's row, number of rows)


def _copy(batch: StepBatch) -> StepBatch:
    return replace(
        batch,
        input_ids=batch.input_ids.copy(),
        query_lengths=batch.query_lengths.copy(),
        context_lengths=batch.context_lengths.copy(),
        block_tables=batch.block_tables.copy(),
        slot_mapping=batch.slot_mapping.copy(),
    )


def _another(row: int, num_rows: int) -> int:
    assert num_rows > 1, "the victim's step must hold another sequence"
    return (row + 1) % num_rows


def wrong_block(batch: StepBatch, row: int, block_size: int) -> StepBatch:
    """One entry of the block table names another sequence's block."""
    batch = _copy(batch)
    batch.block_tables[row, 1] = batch.block_tables[_another(row, len(batch.block_tables)), 1]
    return batch


def stale_slot(batch: StepBatch, row: int, block_size: int) -> StepBatch:
    """The token's K and V are not written: its slot keeps what the block's last owner left."""
    batch = _copy(batch)
    batch.slot_mapping[row] = 0
    return batch


def slot_off_by_one(batch: StepBatch, row: int, block_size: int) -> StepBatch:
    """K and V go one slot too far."""
    batch = _copy(batch)
    batch.slot_mapping[row] += 1
    return batch


def wrong_position(batch: StepBatch, row: int, block_size: int) -> StepBatch:
    """The sequence is said to be one token shorter: its token is rotated for the position before, and sees less."""
    batch = _copy(batch)
    batch.context_lengths[row] -= 1
    return batch


def padded_row_leaks(batch: StepBatch, row: int, block_size: int) -> StepBatch:
    """A row of padding writes into the victim's first slot instead of the reserved block."""
    slot = batch.block_tables[row, 0] * block_size

    def with_one_more(values: Int32, last: object) -> Int32:
        return np.concatenate([values, np.asarray([last], np.int32)])

    return StepBatch(
        batch.kind,
        with_one_more(batch.input_ids, 0),
        with_one_more(batch.query_lengths, 1),
        with_one_more(batch.context_lengths, 1),
        with_one_more(batch.block_tables, np.zeros(batch.block_tables.shape[1])),
        with_one_more(batch.slot_mapping, slot),
    )


@dataclass
class ChangedLogits:
    """Logits of a step whose rows are answered from others, `source` [num_seqs]; each row is changed by `edit`."""

    logits: Logits
    source: Int32
    edit: Callable[[int, Float32], Float32] = lambda index, row: row

    def argmax(self) -> tuple[Int32, Float32]:
        token_ids, token_logits = self.logits.argmax()
        return token_ids[self.source], token_logits[self.source]

    def rows(self, indices: Int32) -> Float32:
        rows = self.logits.rows(self.source[indices])
        return np.stack([self.edit(index, row.copy()) for index, row in zip(indices.tolist(), rows, strict=True)])


def swapped_rows(logits: Logits, row: int, num_rows: int) -> Logits:
    """The victim gets the next sequence's row, and that one the victim's."""
    source = np.arange(num_rows, dtype=np.int32)
    other = _another(row, num_rows)
    source[[row, other]] = [other, row]
    return ChangedLogits(logits, source)


def one_ulp(logits: Logits, row: int, num_rows: int) -> Logits:
    """The victim's largest logit is the next representable number."""

    def edit(index: int, values: Float32) -> Float32:
        if index == row:
            best = values.argmax()
            values[best] = np.nextafter(values[best], np.float32(np.inf))
        return values

    return ChangedLogits(logits, np.arange(num_rows, dtype=np.int32), edit)


BATCH_MUTATIONS: dict[str, BatchMutation] = {
    "wrong block-table entry": wrong_block,
    "stale KV slot": stale_slot,
    "slot mapping off by one": slot_off_by_one,
    "wrong position": wrong_position,
    "padded row leaks in": padded_row_leaks,
}


class Mutant:
    """serving.link.step.Model that makes one mistake, once. `hits` counts how often it did."""

    supports_cached_prefill = True

    def __init__(
        self,
        model: Model,
        victim: Victim,
        on_batch: BatchMutation | None = None,
        on_logits: LogitsMutation | None = None,
    ) -> None:
        self.vocab_size = model.vocab_size
        self.hits = 0
        self._model, self._victim, self._on_batch, self._on_logits = model, victim, on_batch, on_logits
        self._first_block = -1

    def forward(self, batch: StepBatch) -> Logits:
        """The model's step, or the victim's with the mistake."""
        row = self._row(batch)
        if row is None:
            return self._model.forward(batch)
        self.hits += 1
        num_rows = len(batch.context_lengths)
        mutated = self._on_batch(batch, row, self._victim.block_size) if self._on_batch else batch
        logits = self._model.forward(mutated)
        if self._on_logits:
            return self._on_logits(logits, row, num_rows)
        return ChangedLogits(logits, np.arange(num_rows, dtype=np.int32))

    def warm(self) -> None:
        """The model is warm already."""

    def _row(self, batch: StepBatch) -> int | None:
        """The victim's row if this is its step. A prefill tells where its blocks are."""
        if batch.kind is StepKind.prefill:
            starts = np.cumsum(batch.query_lengths) - batch.query_lengths
            for row in np.flatnonzero(batch.input_ids[starts] == self._victim.first_token):
                self._first_block = int(batch.block_tables[row, 0])
            return None
        ours = batch.block_tables[:, 0] == self._first_block
        found = np.flatnonzero(ours & (batch.context_lengths - 1 == self._victim.position))
        return int(found[0]) if len(found) else None
