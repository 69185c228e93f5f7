"""A model that can be computed by hand, for tests and for measuring everything but a model. Knows no MindSpore.

With s = sum over positions i of (i + 1) * token_i, the next token is s mod 256 (EOS, 257, if s mod 4099 is 0), and
logits[v] = -|v - next| - 0.001 * (s mod 97). Tokens are kept in a paged cache like K and V and read back through the
block tables, so that any mistake in paging changes tokens.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from serving.config import StackConfig
from serving.link.layout import Shapes
from serving.link.step import Float32, Int32, StepBatch

VOCAB_SIZE = 259  # 256 bytes, BOS, EOS, PAD: the byte tokenizer's
EOS_ID = 257
_TIMER_LATENESS_S = 0.0003

Int64 = NDArray[np.int64]


def next_tokens(sums: Int64) -> Int32:
    """The rule above, for sums [n]."""
    return np.where(sums % 4099 == 0, EOS_ID, sums % 256).astype(np.int32)


def logits_rows(sums: Int64) -> Float32:
    """The rule above, [n, VOCAB_SIZE], computed in double precision and rounded once."""
    distances = np.abs(np.arange(VOCAB_SIZE) - next_tokens(sums)[:, None])
    rows: Float32 = (-distances - 0.001 * (sums % 97)[:, None]).astype(np.float32)
    return rows


class ArithmeticLogits:
    """Last-token logits of a step; the argmax is there at once, as on a device, full rows when asked for."""

    def __init__(self, sums: Int64) -> None:
        self._sums = sums
        self._argmax = next_tokens(sums), (-0.001 * (sums % 97)).astype(np.float32)

    def argmax(self) -> tuple[Int32, Float32]:
        """(token ids, their logits), each [num_seqs]."""
        return self._argmax

    def rows(self, indices: Int32) -> Float32:
        """[len(indices), VOCAB_SIZE]."""
        return logits_rows(self._sums[indices])


def wait_until(end_s: float) -> None:
    """Return at the instant `end_s` of time.monotonic(), not a timer's lateness (about 0.15 ms) after it.

    A step time is what a host sees of a device, its waking up included, so the last moment is spent looking at the
    clock. Only this stand-in for a device does so; nothing of the engine polls.
    """
    remaining_s = end_s - _TIMER_LATENESS_S - time.monotonic()
    if remaining_s > 0:
        time.sleep(remaining_s)
    while time.monotonic() < end_s:
        pass


class ArithmeticModel:
    """Holds the paged cache of token ids: int64 [num_blocks, block_size]."""

    vocab_size = VOCAB_SIZE
    supports_cached_prefill = True

    def __init__(self, shapes: Shapes, step_ms: float) -> None:
        self._cache = np.zeros((shapes.num_blocks, shapes.block_size), np.int64)
        self._weights = np.arange(1, shapes.max_blocks * shapes.block_size + 1)
        self._step_s = step_ms / 1e3

    def forward(self, batch: StepBatch) -> ArithmeticLogits:
        """Store the step's tokens, sum each sequence's history, and take `device.arithmetic_step_ms` in all."""
        end_s = time.monotonic() + self._step_s
        self._cache.reshape(-1)[batch.slot_mapping] = batch.input_ids
        num_seqs, num_blocks = batch.block_tables.shape
        history = self._cache[batch.block_tables].reshape(num_seqs, num_blocks * self._cache.shape[1])
        weights = self._weights[: history.shape[1]]
        # Positions past the context hold what earlier owners of the block left: they must count for nothing.
        history[weights > batch.context_lengths[:, None]] = 0
        sums: Int64 = history @ weights
        logits = ArithmeticLogits(sums)
        wait_until(end_s)
        return logits

    def warm(self) -> None:
        """Nothing to compile."""


def load(stack: StackConfig, device_index: int, report: Callable[[str, int, int], None]) -> ArithmeticModel:
    """Ready at once; there is nothing to report."""
    return ArithmeticModel(Shapes.from_stack(stack), stack.device.arithmetic_step_ms)
