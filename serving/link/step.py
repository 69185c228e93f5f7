"""One forward pass as the engine orders it and the agent runs it. Knows no sockets, shared memory or MindSpore."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Int32 = NDArray[np.int32]
Float32 = NDArray[np.float32]


class StepKind(IntEnum):
    """Prefill packs whole prompts end to end; decode feeds one token per sequence."""

    prefill = 1
    decode = 2


@dataclass(slots=True)
class StepBatch:
    """The arrays of one step, unpadded: a model pads to its own graph shapes with block 0 and slot 0."""

    kind: StepKind
    input_ids: Int32  # [num_tokens]; prefill: prompts end to end; decode: num_tokens == num_seqs
    query_lengths: Int32  # [num_seqs] tokens of each sequence in this step (decode: all 1)
    context_lengths: Int32  # [num_seqs] tokens of each sequence in the cache once this step has run
    block_tables: Int32  # [num_seqs, max_blocks], padded with 0 (the reserved block)
    slot_mapping: Int32  # [num_tokens] block * block_size + offset, where each token's K and V go


@dataclass(slots=True)
class StepRows:
    """One step of T rows, unpadded: each row a token of some sequence, of its prompt or generated.

    K and V of all rows are written before any row attends, so rows of one sequence see those before them in the step,
    and what earlier steps or other sequences left in the blocks of its table.
    """

    token_ids: Int32  # [T]
    slots: Int32  # [T] block * block_size + offset, where the token's K and V go
    context_lengths: Int32  # [T] the token's position + 1: its rotary angle, and how much of its sequence it sees
    sequences: Int32  # [T] whose it is: a row of block_tables
    block_tables: Int32  # [num_seqs, max_blocks], padded with 0 (the reserved block)
    logits_rows: Int32  # [S] rows whose logits are wanted, S <= T


def rows_of(batch: StepBatch) -> StepRows:
    """The same step as rows; the last one of each sequence goes through the head."""
    lengths = batch.query_lengths
    ends = np.cumsum(lengths, dtype=np.int32)
    sequences = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    behind = np.arange(1, len(sequences) + 1, dtype=np.int32) - ends[sequences]  # 0 for a sequence's last row
    contexts = batch.context_lengths[sequences] + behind
    return StepRows(batch.input_ids, batch.slot_mapping, contexts, sequences, batch.block_tables, ends - 1)


class Logits(Protocol):
    """Logits of a step's wanted rows (StepBatch: each sequence's last token), possibly still on the device."""

    def argmax(self) -> tuple[Int32, Float32]:
        """Greedy token ids and their raw logits, each [num_seqs]. Ties go to the lowest id."""
        ...

    def rows(self, indices: Int32) -> Float32:
        """Full logits of the asked-for sequences, [len(indices), vocab_size], float32."""
        ...


class Model(Protocol):
    """What an agent needs of a model."""

    vocab_size: int

    def forward(self, batch: StepBatch) -> Logits:
        """Write K and V of every token of the step to the cache and return each sequence's last-token logits."""
        ...

    def warm(self) -> None:
        """Compile every graph that a run may use; reports progress through the callback given at load."""
        ...
