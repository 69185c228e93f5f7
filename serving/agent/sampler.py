"""Chooses the next tokens of a step. Reproducible: a draw depends on the request's seed and the position alone.

Greedy is the model's own argmax. Otherwise, in this order and as Hugging Face's logits processors do: repetition
penalty, temperature, top-k, top-p, then one draw by the inverse of the cumulative distribution.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serving.link.layout import MAX_TOP_LOGPROBS, Area
from serving.link.message import SAMPLING, Step
from serving.link.step import Float32, Logits, StepBatch

Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]


def penalise(row: Float32, seen: Bool, penalty: float) -> Float32:
    """Logits [vocab_size] of tokens already seen, divided by `penalty` if positive, else multiplied by it."""
    return np.where(seen, np.where(row > 0, row / np.float32(penalty), row * np.float32(penalty)), row)


def draw(row: Float32, temperature: float, top_k: int, top_p: float, uniform: float) -> int:
    """A token id from logits [vocab_size], for a number `uniform` in [0, 1)."""
    scores = row.astype(np.float64) / temperature
    ids: NDArray[np.intp] | None = None
    if 0 < top_k < len(scores):
        ids = np.argpartition(scores, -top_k)[-top_k:]
        scores = scores[ids]
    weights = np.exp(scores - scores.max())
    if top_p < 1:
        order = np.argsort(-weights, kind="stable")
        weights = weights[order]
        ids = order if ids is None else ids[order]
        cumulative = np.cumsum(weights)
        count = int(np.searchsorted(cumulative, top_p * cumulative[-1])) + 1
        weights = weights[:count]
    cumulative = np.cumsum(weights)
    choice = int(np.searchsorted(cumulative, uniform * cumulative[-1], side="right"))
    choice = min(choice, len(cumulative) - 1)  # rounding at the very end
    return choice if ids is None else int(ids[choice])


def uniform_at(seed: int, position: int) -> float:
    """The number in [0, 1) that belongs to (seed, position): Philox, counter-based, so no state is kept."""
    return float(np.random.Generator(np.random.Philox(key=seed, counter=position)).random())


def log_softmax(row: Float32) -> Float64:
    """Log-probabilities [vocab_size]."""
    shifted = row.astype(np.float64) - row.max()
    result: Float64 = shifted - np.log(np.exp(shifted).sum())
    return result


class Sampler:
    """Keeps, per row of the running set, which tokens a penalised sequence has seen."""

    def __init__(self, vocab_size: int) -> None:
        self._vocab_size = vocab_size
        self._seen: dict[int, Bool] = {}

    def sample(self, step: Step, area: Area, batch: StepBatch, logits: Logits) -> None:
        """Write token ids, their raw logits, log-probabilities and full rows into the area, as the step asks."""
        count = step.num_seqs
        area.token_ids[:count], area.token_logits[:count] = logits.argmax()
        if step.flags & SAMPLING:
            self._sample_rows(area, batch, logits, count)
        if step.num_logits_rows:
            area.logits[: step.num_logits_rows] = logits.rows(area.logits_rows[: step.num_logits_rows])

    def _sample_rows(self, area: Area, batch: StepBatch, logits: Logits, count: int) -> None:
        """Sequences that want more than the argmax."""
        drawn = (area.temperature[:count] > 0) | (area.repetition_penalty[:count] != 1)
        wanted = np.flatnonzero(drawn | (area.num_top_logprobs[:count] >= 0)).astype(np.int32)
        full = logits.rows(wanted)
        ends = np.cumsum(batch.query_lengths)
        for row, index in zip(full, wanted.tolist(), strict=True):
            if drawn[index]:
                context_length, query_length = int(batch.context_lengths[index]), int(batch.query_lengths[index])
                scores = row
                if area.repetition_penalty[index] != 1:
                    fed = batch.input_ids[ends[index] - query_length : ends[index]]
                    seen = self._see(int(area.row[index]), fed, starts=context_length == query_length)
                    scores = penalise(row, seen, float(area.repetition_penalty[index]))
                temperature = float(area.temperature[index])
                token = (
                    draw(
                        scores,
                        temperature,
                        int(area.top_k[index]),
                        float(area.top_p[index]),
                        uniform_at(int(area.seed[index]), context_length),
                    )
                    if temperature > 0
                    else int(scores.argmax())
                )
                area.token_ids[index] = token
                area.token_logits[index] = row[token]
            if area.num_top_logprobs[index] >= 0:
                self._write_logprobs(area, index, log_softmax(row))

    def _see(self, row: int, token_ids: NDArray[np.int32], starts: bool) -> Bool:
        """Tokens that the sequence at `row` has been fed, these included; `starts` forgets the row's last owner."""
        seen = self._seen.get(row)
        if seen is None or starts:
            seen = self._seen[row] = np.zeros(self._vocab_size, np.bool_)
        seen[token_ids] = True
        return seen

    def _write_logprobs(self, area: Area, index: int, logprobs: Float64) -> None:
        area.token_logprobs[index] = logprobs[area.token_ids[index]]
        count = min(MAX_TOP_LOGPROBS, len(logprobs))
        best = np.argpartition(-logprobs, count - 1)[:count]
        best = best[np.lexsort((best, -logprobs[best]))]
        area.top_ids[index, :count] = best
        area.top_logprobs[index, :count] = logprobs[best]
