"""The accuracy check catches what it should, on the model that can be computed by hand: every step of a real batch.

The same mistakes around MindFormers' Llama: tests/mindspore/test_llama_mutations.py.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.accuracy import Tolerance, compare_folders, meets_bar
from harness.accuracy.sentence import first_not_passed
from serving.agent.arithmetic import ArithmeticModel
from serving.config import ModelKind, Policy, StackConfig, WeightSource
from serving.link.layout import Shapes
from serving.reference.arithmetic import reference_rows
from tests.support.mutations import BATCH_MUTATIONS, Mutant, Victim, one_ulp, swapped_rows
from tests.support.served import Prompt, check, serve

BLOCK_SIZE = 4
VICTIM = Victim(first_token=250, position=101, block_size=BLOCK_SIZE)
# Victims sort first; prompts differ in length so that their rows are at different positions in each step.
PROMPTS = [
    Prompt("a-victim", [250, *range(1, 97)], 12),
    Prompt("b", [40, *range(11, 105)], 12),
    Prompt("c", [90, *range(3, 95)], 12),
]


def make_stack(**options: object) -> StackConfig:
    stack = StackConfig()
    stack.model.kind, stack.model.source, stack.model.seq_length = ModelKind.arithmetic, WeightSource.none, 128
    stack.serving.batch.decode = 4
    stack.serving.cache.block_size, stack.serving.cache.num_blocks = BLOCK_SIZE, 140
    return stack


@pytest.fixture
def stack() -> StackConfig:
    return make_stack()


@pytest.fixture
def model(stack: StackConfig, tmp_path: Path) -> ArithmeticModel:
    """Its cache is full of what earlier requests left."""
    model = ArithmeticModel(Shapes.from_stack(stack), 0.0)
    earlier = [Prompt(f"earlier-{n}", [(n * 31 + k) % 199 + 1 for k in range(120)], 8) for n in range(4)]
    serve(stack, model, earlier, tmp_path / "earlier")
    return model


def test_the_model_alone_is_right_to_the_bit(stack, model, tmp_path):
    metrics = check(stack, model, reference_rows, PROMPTS, tmp_path).metrics
    assert meets_bar(metrics, 1.0, bit_exact=True)
    assert metrics.allclose_rows_total == 36 and metrics.text_match_rate == 1


@pytest.mark.parametrize("name", BATCH_MUTATIONS)
def test_a_mistake_in_one_step_is_named(stack, model, tmp_path, name):
    mutant = Mutant(model, VICTIM, on_batch=BATCH_MUTATIONS[name])
    metrics = check(stack, mutant, reference_rows, PROMPTS, tmp_path).metrics
    assert mutant.hits == 1
    assert not meets_bar(metrics, 1.0)
    assert first_not_passed(metrics) == "first not passed: prompt a-victim, position 101: outside the tolerance"
    assert metrics.allclose_requests_passed == 2  # and nobody else is blamed


def test_swapped_rows_blame_both_sequences(stack, model, tmp_path):
    mutant = Mutant(model, VICTIM, on_logits=swapped_rows)
    comparison = check(stack, mutant, reference_rows, PROMPTS, tmp_path)
    assert mutant.hits == 1 and not meets_bar(comparison.metrics, 1.0)
    table = comparison.table
    failed = np.flatnonzero(table.status == 1)
    named = [(table.prompt_ids[table.prompt[line]], int(table.position[line])) for line in failed]
    assert named == [("a-victim", 101), ("b", 99)]
    assert comparison.metrics.text_match_rate == pytest.approx(1 / 3)


def test_a_weight_off_by_one_per_cent_is_named(stack, model, tmp_path):
    model._weights[99] += 1  # the weight of position 99, 100
    metrics = check(stack, model, reference_rows, PROMPTS, tmp_path).metrics
    assert not meets_bar(metrics, 1.0)
    assert first_not_passed(metrics) == "first not passed: prompt a-victim, position 99: outside the tolerance"


def test_bit_exactness_catches_the_ulp_that_closeness_forgives(stack, model, tmp_path):
    mutant = Mutant(model, VICTIM, on_logits=one_ulp)
    metrics = check(stack, mutant, reference_rows, PROMPTS, tmp_path).metrics
    assert mutant.hits == 1
    assert meets_bar(metrics, 1.0) and not meets_bar(metrics, 1.0, bit_exact=True)
    assert first_not_passed(metrics, bit_exact=True) == "first not equal bit for bit: prompt a-victim, position 101"
    assert metrics.max_ulp_diff == 1


@pytest.mark.parametrize("seed", range(50))
def test_clean_random_batches_raise_no_alarm(tmp_path, seed):
    """Any policy, block size, batch and memory, preemption and reuse included."""
    rng = np.random.default_rng(seed)
    stack = make_stack()
    serving = stack.serving
    serving.policy = list(Policy)[rng.integers(len(Policy))]
    serving.batch.decode = int(rng.integers(1, 9))
    serving.cache.block_size = int(rng.choice([1, 3, 4, 16]))
    serving.cache.num_blocks = -(-stack.model.seq_length // serving.cache.block_size) + 1 + int(rng.integers(0, 60))
    serving.cache.prefix_reuse, serving.prefill.chunked, serving.pipeline = (bool(x) for x in rng.integers(0, 2, 3))
    serving.prefill.max_prompts, serving.prefill.max_tokens = int(rng.integers(1, 6)), int(rng.integers(1, 200))
    prompts = [
        Prompt(f"p-{n}", rng.integers(0, 256, rng.integers(1, 100)).tolist(), int(rng.integers(1, 28)))
        for n in range(rng.integers(1, 10))
    ]
    model = ArithmeticModel(Shapes.from_stack(stack), 0.0)
    metrics = check(stack, model, reference_rows, prompts, tmp_path, Tolerance(quick=True)).metrics
    assert meets_bar(metrics, 1.0, bit_exact=True), first_not_passed(metrics, bit_exact=True)
    assert metrics.allclose_rows_total == sum(prompt.max_new_tokens for prompt in prompts)


def test_two_clean_runs_are_equal_to_the_bit(stack, model, tmp_path):
    for name in ("one", "two"):
        serve(stack, model, PROMPTS, tmp_path / name)
    assert meets_bar(compare_folders(tmp_path / "one", tmp_path / "two").metrics, 1.0, bit_exact=True)
