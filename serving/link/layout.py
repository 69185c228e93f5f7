"""Where each array of a step lies in shared memory, computed alike by engine and agent. Knows no memory mapping.

The segment holds two step areas, so that one step can be written while the agent runs the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.config import StackConfig
from serving.link.step import Float32, Int32

NUM_AREAS = 2
MAX_TOP_LOGPROBS = 20
_ALIGNMENT = 64  # bytes: a cache line
_TO_AGENT = (
    "input_ids",
    "slot_mapping",
    "query_lengths",
    "context_lengths",
    "block_tables",
    "token_source",
    "row",
    "temperature",
    "top_k",
    "top_p",
    "repetition_penalty",
    "seed",
    "num_top_logprobs",
    "logits_rows",
)


@dataclass
class Shapes:
    """Most of everything in one step; both sides must agree."""

    max_seqs: int
    max_tokens: int
    max_blocks: int  # per sequence
    block_size: int
    num_blocks: int

    @classmethod
    def from_stack(cls, stack: StackConfig) -> Shapes:
        """The limits that follow from `serving.batch`, `serving.cache`, `serving.prefill` and `model.seq_length`."""
        serving, seq_length = stack.serving, stack.model.seq_length
        return cls(
            max_seqs=serving.batch.decode,  # a prefill step takes no more prompts than there are free places
            # A prompt longer than max_tokens goes alone, as does a preempted sequence with its output.
            max_tokens=max(serving.batch.decode, serving.prefill.max_tokens, seq_length),
            max_blocks=-(-seq_length // serving.cache.block_size),
            block_size=serving.cache.block_size,
            num_blocks=serving.cache.num_blocks,
        )


def _arrays(shapes: Shapes, vocab_size: int) -> list[tuple[str, Any, int]]:
    """(name, dtype, number of elements) of one area, in order."""
    seqs = shapes.max_seqs
    return [
        ("input_ids", np.int32, shapes.max_tokens),
        ("slot_mapping", np.int32, shapes.max_tokens),
        ("query_lengths", np.int32, seqs),
        ("context_lengths", np.int32, seqs),
        ("block_tables", np.int32, seqs * shapes.max_blocks),
        ("token_source", np.int32, seqs),
        ("row", np.int32, seqs),
        ("temperature", np.float32, seqs),
        ("top_k", np.int32, seqs),
        ("top_p", np.float32, seqs),
        ("repetition_penalty", np.float32, seqs),
        ("seed", np.uint64, seqs),
        ("num_top_logprobs", np.int32, seqs),
        ("logits_rows", np.int32, seqs),
        ("token_ids", np.int32, seqs),
        ("token_logits", np.float32, seqs),
        ("token_logprobs", np.float32, seqs),
        ("top_ids", np.int32, seqs * MAX_TOP_LOGPROBS),
        ("top_logprobs", np.float32, seqs * MAX_TOP_LOGPROBS),
        ("logits", np.float32, seqs * vocab_size),
    ]


def _area_bytes(shapes: Shapes, vocab_size: int) -> int:
    return sum(_padded(np.dtype(kind).itemsize * count) for _, kind, count in _arrays(shapes, vocab_size))


def _padded(num_bytes: int) -> int:
    return -(-num_bytes // _ALIGNMENT) * _ALIGNMENT


def segment_bytes(shapes: Shapes, vocab_size: int) -> int:
    """Size of the whole segment."""
    return NUM_AREAS * _area_bytes(shapes, vocab_size)


class Area:
    """NumPy views of one step area. The engine writes the first group and reads the second; the agent the reverse."""

    # engine -> agent
    input_ids: Int32  # [max_tokens]
    slot_mapping: Int32  # [max_tokens]
    query_lengths: Int32  # [max_seqs]
    context_lengths: Int32  # [max_seqs]
    block_tables: Int32  # [max_seqs * max_blocks], used as [num_seqs, num_blocks] without gaps
    token_source: Int32  # [max_seqs] -1 = input_ids holds the token, r = the token sampled at row r of the last step
    row: Int32  # [max_seqs] the sequence's place among the running, kept while it runs
    temperature: Float32  # [max_seqs] 0 = greedy
    top_k: Int32  # [max_seqs] 0 = all
    top_p: Float32  # [max_seqs]
    repetition_penalty: Float32  # [max_seqs] 1 = none
    seed: NDArray[np.uint64]  # [max_seqs]
    num_top_logprobs: Int32  # [max_seqs] -1 = no log-probabilities
    logits_rows: Int32  # [num_logits_rows] sequences of the step whose full logits are wanted
    # agent -> engine
    token_ids: Int32  # [max_seqs]
    token_logits: Float32  # [max_seqs] raw
    token_logprobs: Float32  # [max_seqs]
    top_ids: Int32  # [max_seqs, MAX_TOP_LOGPROBS]
    top_logprobs: Float32  # [max_seqs, MAX_TOP_LOGPROBS]
    logits: Float32  # [max_seqs, vocab_size]; the first num_logits_rows are valid

    def __init__(self, memory: memoryview, index: int, shapes: Shapes, vocab_size: int) -> None:
        offset = index * _area_bytes(shapes, vocab_size)
        for name, kind, count in _arrays(shapes, vocab_size):
            setattr(self, name, np.frombuffer(memory, kind, count, offset))
            offset += _padded(np.dtype(kind).itemsize * count)
        self.top_ids = self.top_ids.reshape(shapes.max_seqs, MAX_TOP_LOGPROBS)
        self.top_logprobs = self.top_logprobs.reshape(shapes.max_seqs, MAX_TOP_LOGPROBS)
        self.logits = self.logits.reshape(shapes.max_seqs, vocab_size)


def copy_step(source: Area, target: Area, num_seqs: int, num_tokens: int, num_blocks: int) -> None:
    """The engine's half of one step, from one agent's area to another's: O(what the step holds)."""
    counts = {"input_ids": num_tokens, "slot_mapping": num_tokens, "block_tables": num_seqs * num_blocks}
    for name in _TO_AGENT:
        count = counts.get(name, num_seqs)
        getattr(target, name)[:count] = getattr(source, name)[:count]


def areas(memory: memoryview, shapes: Shapes, vocab_size: int) -> list[Area]:
    """Views of all step areas of a segment."""
    return [Area(memory, index, shapes, vocab_size) for index in range(NUM_AREAS)]
