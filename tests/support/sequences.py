"""Drives a model step by step as the engine would, over block tables with holes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from serving.link.step import Float32, Int32, Logits, Model, StepBatch, StepKind


def int32(values: object) -> Int32:
    """An int32 array."""
    return np.asarray(values, np.int32)


@dataclass
class Sequence:
    """Token ids so far and the blocks that hold their K and V."""

    token_ids: list[int]
    blocks: list[int]
    block_size: int

    def slot(self, position: int) -> int:
        """Where the token at a position is cached."""
        return self.blocks[position // self.block_size] * self.block_size + position % self.block_size


def tables(sequences: list[Sequence]) -> Int32:
    """Block tables [num_seqs, max_blocks], padded with block 0."""
    table = np.zeros((len(sequences), max(len(sequence.blocks) for sequence in sequences)), np.int32)
    for row, sequence in zip(table, sequences, strict=True):
        row[: len(sequence.blocks)] = sequence.blocks
    return table


def prefill_batch(sequences: list[Sequence]) -> StepBatch:
    """All sequences' tokens, packed."""
    lengths = int32([len(sequence.token_ids) for sequence in sequences])
    ids = int32([token for sequence in sequences for token in sequence.token_ids])
    slots = int32([sequence.slot(i) for sequence in sequences for i in range(len(sequence.token_ids))])
    return StepBatch(StepKind.prefill, ids, lengths, lengths, tables(sequences), slots)


def decode_batch(sequences: list[Sequence]) -> StepBatch:
    """The newest token of each sequence, whose K and V are not cached yet."""
    lengths = int32([len(sequence.token_ids) for sequence in sequences])
    ids = int32([sequence.token_ids[-1] for sequence in sequences])
    slots = int32([sequence.slot(len(sequence.token_ids) - 1) for sequence in sequences])
    return StepBatch(StepKind.decode, ids, int32(np.ones(len(sequences))), lengths, tables(sequences), slots)


def random_sequences(
    rng: np.random.Generator, lengths: list[int], room: int, block_size: int, num_blocks: int, vocab_size: int
) -> list[Sequence]:
    """Sequences of random tokens whose blocks lie anywhere, in any order, with `room` tokens to grow."""
    free = (1 + rng.permutation(num_blocks - 1)).tolist()
    sequences = []
    for length in lengths:
        count = -(-(length + room) // block_size)
        blocks, free = free[:count], free[count:]
        sequences.append(Sequence(rng.integers(0, vocab_size, length).tolist(), blocks, block_size))
    return sequences


def rows(logits: Logits, count: int) -> Float32:
    """All logits of a step."""
    return logits.rows(int32(np.arange(count)))


def generate(model: Model, sequences: list[Sequence], num_tokens: int) -> list[Float32]:
    """Prefill, then decode greedily; appends to the sequences and returns each step's logits [num_seqs, vocab]."""
    seen = []
    for step in range(num_tokens):
        logits = model.forward(decode_batch(sequences) if step else prefill_batch(sequences))
        seen.append(rows(logits, len(sequences)))
        for sequence, token in zip(sequences, logits.argmax()[0].tolist(), strict=True):
            sequence.token_ids.append(token)
    return seen
