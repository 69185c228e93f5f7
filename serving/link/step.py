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


class Logits(Protocol):
    """Last-token logits of a step, possibly still on the device."""

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
