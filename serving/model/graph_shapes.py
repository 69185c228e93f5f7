"""Which compiled graph a step runs in, and how its arrays are padded to it. Pure: it knows no MindSpore.

A graph of fixed shape runs twice as fast on CPU as one that takes any shape, but each costs seconds to compile. So a
few are compiled for the common sizes (`device.*_buckets`) and one dynamic graph per kind takes what is larger.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np

from serving.config import StackConfig, decode_buckets
from serving.link.step import Int32, StepBatch, StepKind


@dataclass(frozen=True, slots=True)
class GraphShape:
    """A graph's input sizes. Prefill: lengths have one entry more than `num_seqs`, the padding's. 0 = any size."""

    kind: StepKind
    num_seqs: int
    num_tokens: int
    num_blocks: int  # per sequence

    @property
    def is_dynamic(self) -> bool:
        """Whether it takes any shape."""
        return self.num_seqs == 0

    def __str__(self) -> str:
        if self.is_dynamic:
            return f"{self.kind.name}, any shape"
        if self.kind is StepKind.prefill:
            return f"prefill, {self.num_tokens} tokens"
        return f"decode, batch {self.num_seqs}, {self.num_blocks} blocks"


@dataclass(slots=True)
class GraphInputs:
    """Arrays as the network takes them: ids [1, T] or [B, 1], lengths [n], tables [B, blocks], slots [T]."""

    input_ids: Int32
    lengths: Int32
    block_tables: Int32
    slot_mapping: Int32


class GraphPlan:
    """The graphs that a configuration compiles, in their order, and the choice among them."""

    def __init__(self, stack: StackConfig) -> None:
        batch, device, prefill = stack.serving.batch, stack.device, stack.serving.prefill
        self._block_size = stack.serving.cache.block_size
        self._max_blocks = -(-stack.model.seq_length // self._block_size)
        self._blocks = sorted({min(size, self._max_blocks) for size in device.decode_blocks_buckets})
        self._batches = decode_buckets(batch) if self._blocks else []
        self._tokens = sorted(set(device.prefill_tokens_buckets))
        self._prompts = min(prefill.max_prompts, batch.decode)

    def shapes(self) -> list[GraphShape]:
        """Every graph, the dynamic ones last."""
        prefill = [self._prefill(tokens) for tokens in self._tokens]
        decode = [self._decode(batch, blocks) for batch in self._batches for blocks in self._blocks]
        return [*prefill, *decode, dynamic(StepKind.prefill), dynamic(StepKind.decode)]

    def choose(self, batch: StepBatch) -> GraphShape:
        """The smallest graph that holds the step."""
        num_seqs = len(batch.query_lengths)
        if batch.kind is StepKind.prefill:
            tokens = next_bucket(self._tokens, len(batch.input_ids))
            return self._prefill(tokens) if tokens and num_seqs <= self._prompts else dynamic(batch.kind)
        size = next_bucket(self._batches, num_seqs)
        blocks = next_bucket(self._blocks, -(-int(batch.context_lengths.max()) // self._block_size))
        return self._decode(size, blocks) if size and blocks else dynamic(batch.kind)

    def _prefill(self, tokens: int) -> GraphShape:
        return GraphShape(StepKind.prefill, self._prompts, tokens, 1)

    @staticmethod
    def _decode(batch: int, blocks: int) -> GraphShape:
        return GraphShape(StepKind.decode, batch, batch, blocks)


def dynamic(kind: StepKind) -> GraphShape:
    """The graph of a kind that takes any shape."""
    return GraphShape(kind, 0, 0, 0)


def next_bucket(buckets: list[int], size: int) -> int:
    """The smallest of the ascending `buckets` that is at least `size`, or 0."""
    index = bisect_left(buckets, size)
    return buckets[index] if index < len(buckets) else 0


def pad(batch: StepBatch, shape: GraphShape) -> GraphInputs:
    """The step's arrays in the graph's shape. Padding lies in block 0 and slot 0, which no sequence owns."""
    prefill = batch.kind is StepKind.prefill
    if shape.is_dynamic:
        ids = batch.input_ids.reshape((1, -1) if prefill else (-1, 1))
        return GraphInputs(ids, batch.context_lengths, batch.block_tables, batch.slot_mapping)
    num_seqs, num_tokens = len(batch.context_lengths), len(batch.input_ids)
    ids = np.zeros((1, shape.num_tokens) if prefill else (shape.num_seqs, 1), np.int32)
    ids.reshape(-1)[:num_tokens] = batch.input_ids
    slots = np.zeros(shape.num_tokens, np.int32)
    slots[:num_tokens] = batch.slot_mapping
    if prefill:
        # Padding tokens form a last prompt of their own: no real token sees them.
        lengths = np.zeros(shape.num_seqs + 1, np.int32)
        lengths[-1] = shape.num_tokens - num_tokens
        tables = np.zeros((1, 1), np.int32)  # prefill reads nothing from the cache
    else:
        lengths = np.ones(shape.num_seqs, np.int32)
        tables = np.zeros((shape.num_seqs, shape.num_blocks), np.int32)
        width = min(shape.num_blocks, batch.block_tables.shape[1])
        tables[:num_seqs, :width] = batch.block_tables[:, :width]
    lengths[:num_seqs] = batch.context_lengths
    return GraphInputs(ids, lengths, tables, slots)


def empty_batch(shape: GraphShape) -> StepBatch:
    """A step of padding alone, to compile and warm a graph with."""
    one = np.ones(1, np.int32)
    zeros = np.zeros(1, np.int32)
    return StepBatch(shape.kind, zeros, one, one, np.zeros((1, 1), np.int32), zeros)
