"""Sampling: greedy exact, distributions right, draws reproducible, log-probabilities those of the raw logits."""

from __future__ import annotations

import numpy as np
import pytest

from serving.agent.batch import build_batch, check_step
from serving.agent.sampler import Sampler, draw, log_softmax, penalise, uniform_at
from serving.link import errors
from serving.link.layout import Shapes, areas, segment_bytes
from serving.link.message import LOGPROBS, SAMPLING, SOURCES, Step

VOCAB = 40
SHAPES = Shapes(max_seqs=4, max_tokens=16, max_blocks=4, block_size=4, num_blocks=10)
RNG = np.random.default_rng(7)


class TableLogits:
    """Logits given as an array."""

    def __init__(self, table: np.ndarray) -> None:
        self.table = table.astype(np.float32)

    def argmax(self):
        return self.table.argmax(1).astype(np.int32), self.table.max(1)

    def rows(self, indices):
        return self.table[indices]


def new_area():
    area = areas(memoryview(bytearray(segment_bytes(SHAPES, VOCAB))), SHAPES, VOCAB)[0]
    area.repetition_penalty[:] = area.top_p[:] = 1
    area.num_top_logprobs[:] = -1
    area.context_lengths[:] = area.query_lengths[:] = 1
    area.row[:] = range(4)
    return area


def sample(sampler, area, table, flags=SAMPLING, num_logits_rows=0):
    count = len(table)
    step = Step(1, 0, 2, flags, count, count, 1, num_logits_rows, 0)
    sampler.sample(step, area, build_batch(step, area, np.zeros(0, np.int32)), TableLogits(table))
    return area.token_ids[:count].tolist()


def test_draws_follow_the_distribution():
    row = RNG.normal(size=VOCAB).astype(np.float32)
    weights = np.exp(row / 0.7)
    grid = (np.arange(20_000) + 0.5) / 20_000
    counts = np.bincount([draw(row, 0.7, 0, 1.0, u) for u in grid], minlength=VOCAB)
    assert np.allclose(counts / len(grid), weights / weights.sum(), atol=1e-4)


def test_top_k_then_top_p_keep_the_likeliest():
    row = np.log(np.array([0.4, 0.05, 0.3, 0.05, 0.2], np.float32))
    grid = np.linspace(0, 0.999, 500)
    assert {draw(row, 1.0, 3, 1.0, u) for u in grid} == {0, 2, 4}
    assert {draw(row, 1.0, 0, 0.6, u) for u in grid} == {0, 2}
    assert {draw(row, 1.0, 0, 0.3, u) for u in grid} == {0}
    # of the three kept by top_k, renormalised to .44 .33 .22, top_p .75 keeps two
    assert {draw(row, 1.0, 3, 0.75, u) for u in grid} == {0, 2}
    assert draw(row, 1.0, 0, 1.0, 1 - 2**-53) == 4


def test_penalty_divides_positive_and_multiplies_negative_logits_of_seen_tokens():
    row = np.array([2.0, -2.0, 2.0, -2.0], np.float32)
    seen = np.array([True, True, False, False])
    assert penalise(row, seen, 2.0).tolist() == [1.0, -4.0, 2.0, -2.0]


def test_uniforms_depend_on_seed_and_position_only():
    assert uniform_at(5, 9) == uniform_at(5, 9)
    values = {uniform_at(seed, position) for seed in (0, 1, 2**64 - 1) for position in range(100)}
    assert len(values) == 300
    assert abs(np.mean(list(values)) - 0.5) < 0.05


def test_greedy_rows_stay_exact_beside_drawn_ones_and_rows_do_not_depend_on_neighbours():
    table = RNG.normal(size=(3, VOCAB))
    area = new_area()
    area.temperature[1] = 1.5
    area.seed[1], area.context_lengths[1] = 77, 12
    together = sample(Sampler(VOCAB), area, table)
    assert together[0] == table[0].argmax() and together[2] == table[2].argmax()
    assert together[1] == draw(table[1].astype(np.float32), 1.5, 0, 1.0, uniform_at(77, 12))
    assert area.token_logits[:3].tolist() == [np.float32(table[i, token]) for i, token in enumerate(together)]
    alone = new_area()
    alone.temperature[0], alone.seed[0], alone.context_lengths[0] = 1.5, 77, 12
    assert sample(Sampler(VOCAB), alone, table[1:2]) == together[1:2]


def test_penalised_greedy_remembers_the_prompt_and_forgets_the_last_owner_of_its_row():
    sampler, area = Sampler(VOCAB), new_area()
    table = np.zeros((1, VOCAB))
    table[0, [3, 5, 7]] = 3.0, 2.9, 2.8
    area.repetition_penalty[0] = 2.0
    area.input_ids[0] = 3
    assert sample(sampler, area, table) == [5]  # 3 is penalised
    area.input_ids[0], area.context_lengths[0] = 5, 2
    assert sample(sampler, area, table) == [7]  # 3 and 5 are
    area.input_ids[0], area.context_lengths[0] = 9, 1
    assert sample(sampler, area, table) == [3]  # a new sequence in the same row
    assert area.token_logits[0] == 3.0


def test_logprobs_are_those_of_the_raw_logits():
    table = RNG.normal(size=(2, VOCAB))
    area = new_area()
    area.num_top_logprobs[1] = 3
    area.temperature[1], area.seed[1] = 5.0, 3
    token = sample(Sampler(VOCAB), area, table, SAMPLING | LOGPROBS)[1]
    expected = table[1] - np.log(np.exp(table[1]).sum())
    assert np.allclose(log_softmax(table[1].astype(np.float32)), expected, atol=1e-6)
    assert area.token_logprobs[1] == pytest.approx(expected[token], abs=1e-6)
    order = np.argsort(-table[1])[:20]
    assert area.top_ids[1].tolist() == order.tolist()
    assert np.allclose(area.top_logprobs[1], expected[order], atol=1e-6)


def test_full_rows_are_written_for_those_asked():
    table = RNG.normal(size=(4, VOCAB)).astype(np.float32)
    area = new_area()
    area.logits_rows[:2] = 3, 1
    sample(Sampler(VOCAB), area, table, flags=0, num_logits_rows=2)
    assert np.array_equal(area.logits[:2], table[[3, 1]])
    assert not area.logits[2:].any()


def test_batches_take_tokens_of_the_step_before_where_told():
    area = new_area()
    area.input_ids[:3] = 10, 11, 12
    area.token_source[:3] = -1, 1, 0
    step = Step(2, 0, 2, SOURCES, 3, 3, 1, 0, 0)
    assert build_batch(step, area, np.array([20, 21], np.int32)).input_ids.tolist() == [10, 21, 20]


def test_a_step_over_the_agreed_shapes_is_named():
    check_step(Step(1, 0, 2, 0, 4, 16, 4, 4, 0), SHAPES)
    for counts in ((5, 16, 4, 0), (4, 17, 4, 0), (4, 16, 5, 0), (4, 16, 4, 5), (0, 0, 1, 0)):
        with pytest.raises(errors.WrongSize, match="step 1"):
            check_step(Step(1, 0, 2, 0, *counts, 0), SHAPES)
