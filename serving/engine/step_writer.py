"""Writes planned steps into shared memory: lists -> arrays, O(sequences in the step). Knows no sockets.

What stays the same while a sequence runs (its blocks so far, its sampling) is kept in tables with one line per row of
the running set, and picked from there with one NumPy call per step.
"""

from __future__ import annotations

import numpy as np

from serving.engine.plan import StepPlan
from serving.engine.sequence import Sequence
from serving.link.layout import Area, Shapes
from serving.link.message import LOGPROBS, SAMPLING, SOURCES
from serving.link.step import StepKind


class StepWriter:
    """The tables of one agent's running sequences."""

    def __init__(self, shapes: Shapes) -> None:
        rows = shapes.max_seqs
        self._block_size = shapes.block_size
        self._tables = np.zeros((rows, shapes.max_blocks), np.int32)
        self._temperature = np.zeros(rows, np.float32)
        self._top_k = np.zeros(rows, np.int32)
        self._top_p = np.ones(rows, np.float32)
        self._repetition_penalty = np.ones(rows, np.float32)
        self._seed = np.zeros(rows, np.uint64)
        self._num_top_logprobs = np.full(rows, -1, np.int32)

    def write(self, plan: StepPlan, area: Area) -> tuple[int, int]:
        """Fill the engine's half of `area`; returns (columns of the block tables, message flags)."""
        num_seqs = len(plan.sequences)
        rows = []
        width = 1
        for sequence in plan.sequences:
            rows.append(sequence.row)
            if len(sequence.blocks) != sequence.num_tabled:
                self._table(sequence)
            width = max(width, len(sequence.blocks))
        index = np.array(rows, np.intp)
        tables = self._tables[index, :width]
        area.block_tables[: num_seqs * width] = tables.ravel()
        area.input_ids[: len(plan.input_ids)] = plan.input_ids
        contexts = np.array(plan.context_lengths, np.int32)
        area.context_lengths[:num_seqs] = contexts
        if plan.kind is StepKind.decode:
            area.query_lengths[:num_seqs] = 1
            sequence_of_token = np.arange(num_seqs)
            positions = contexts - 1
        else:
            lengths = np.array(plan.query_lengths, np.int32)
            area.query_lengths[:num_seqs] = lengths
            sequence_of_token = np.repeat(np.arange(num_seqs), lengths)
            starts = np.cumsum(lengths) - lengths
            positions = np.arange(len(plan.input_ids)) + (contexts - lengths - starts)[sequence_of_token]
        blocks = tables[sequence_of_token, positions // self._block_size]
        area.slot_mapping[: len(positions)] = blocks * self._block_size + positions % self._block_size
        if plan.logits_rows:
            area.logits_rows[: len(plan.logits_rows)] = plan.logits_rows
        return width, self._write_flagged(plan, area, index)

    def _write_flagged(self, plan: StepPlan, area: Area, index: np.ndarray[tuple[int], np.dtype[np.intp]]) -> int:
        """The arrays that most steps do without."""
        num_seqs = len(index)
        flags = 0
        if plan.has_sources:
            area.token_source[:num_seqs] = plan.token_source
            flags |= SOURCES
        if not plan.plain:
            area.row[:num_seqs] = index
            area.temperature[:num_seqs] = self._temperature[index]
            area.top_k[:num_seqs] = self._top_k[index]
            area.top_p[:num_seqs] = self._top_p[index]
            area.repetition_penalty[:num_seqs] = self._repetition_penalty[index]
            area.seed[:num_seqs] = self._seed[index]
            num_top_logprobs = self._num_top_logprobs[index]
            area.num_top_logprobs[:num_seqs] = num_top_logprobs
            flags |= SAMPLING
            if num_top_logprobs.max() >= 0:
                flags |= LOGPROBS
        return flags

    def _table(self, sequence: Sequence) -> None:
        """Copy the blocks that came since the last step; a sequence just admitted brings its sampling too."""
        row, known = sequence.row, sequence.num_tabled
        if known == 0:
            self._tables[row] = 0
            sampling = sequence.request.sampling
            self._temperature[row] = sampling.temperature
            self._top_k[row] = sampling.top_k
            self._top_p[row] = sampling.top_p
            self._repetition_penalty[row] = sampling.repetition_penalty
            self._seed[row] = sequence.seed
            self._num_top_logprobs[row] = -1 if sampling.top_logprobs is None else sampling.top_logprobs
        self._tables[row, known : len(sequence.blocks)] = sequence.blocks[known:]
        sequence.num_tabled = len(sequence.blocks)
