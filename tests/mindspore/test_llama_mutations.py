"""The accuracy check catches what it should, on MindFormers' own Llama with random weights (see tests/unit for more).

Served by the scheduler, in batched steps over a paged cache; judged against the plain network.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from harness.accuracy import compare_folders, meets_bar
from harness.accuracy.sentence import first_not_passed
from serving.config import Policy, StackConfig
from serving.link.step import StepKind
from tests.support.mutations import BATCH_MUTATIONS, Mutant, Victim, swapped_rows
from tests.support.served import Prompt, check, serve

pytestmark = pytest.mark.mindspore
VICTIM_TOKEN = 500
VICTIM = Victim(VICTIM_TOKEN, position=17, block_size=4)
PROMPTS = [
    Prompt("a-victim", [VICTIM_TOKEN, *range(20, 32)], 12),
    Prompt("b", [7, *range(50, 60)], 12),
    Prompt("c", [90, 3, 3, 8, 200, 11, 12, 450], 12),
]


@pytest.fixture(scope="module")
def used(model: Any, stack: StackConfig, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The model, its cache full of what earlier requests left."""
    rng = np.random.default_rng(1)
    earlier = [Prompt(f"e-{n}", rng.integers(0, 490, 40).tolist(), 20) for n in range(4)]
    serve(stack, model, earlier, tmp_path_factory.mktemp("earlier"))
    return model


@contextmanager
def changed(model: Any, name: str, edit: Any) -> Iterator[None]:
    """One parameter of the served network changed; the compiled graphs read it anew."""
    from mindspore import Tensor

    (parameter,) = [p for n, p in model._network.parameters_and_names() if n == name]
    before = parameter.asnumpy().copy()
    parameter.set_data(Tensor(edit(before.copy())))
    try:
        yield
    finally:
        parameter.set_data(Tensor(before))


def test_the_served_path_is_within_tolerance(used, plain, stack, tmp_path):
    metrics = check(stack, used, plain.rows, PROMPTS, tmp_path).metrics
    assert meets_bar(metrics, 1.0), first_not_passed(metrics)
    assert metrics.allclose_rows_total == 36 and metrics.text_match_rate == 1
    assert metrics.max_abs_diff is not None and metrics.max_abs_diff < 1e-4


@pytest.mark.parametrize("name", BATCH_MUTATIONS)
def test_a_mistake_in_one_step_is_named(used, plain, stack, tmp_path, name):
    mutant = Mutant(used, VICTIM, on_batch=BATCH_MUTATIONS[name])
    metrics = check(stack, mutant, plain.rows, PROMPTS, tmp_path).metrics
    assert mutant.hits == 1
    assert not meets_bar(metrics, 1.0)
    assert first_not_passed(metrics) == "first not passed: prompt a-victim, position 17: outside the tolerance"
    assert metrics.allclose_requests_passed == 2


def test_swapped_rows_blame_both_sequences(used, plain, stack, tmp_path):
    mutant = Mutant(used, VICTIM, on_logits=swapped_rows)
    table = check(stack, mutant, plain.rows, PROMPTS, tmp_path).table
    failed = np.flatnonzero(table.status == 1)
    named = [(table.prompt_ids[table.prompt[line]], int(table.position[line])) for line in failed]
    assert named == [("a-victim", 17), ("b", 15)]


@pytest.mark.parametrize(
    "name",
    ["model.layers.0.attention.wq.weight", "model.layers.1.feed_forward.w2.weight", "lm_head.weight"],
)
def test_one_weight_matrix_off_by_one_per_cent_is_caught(used, plain, stack, tmp_path, name):
    with changed(used, name, lambda weight: weight * np.float32(1.01)):
        metrics = check(stack, used, plain.rows, PROMPTS, tmp_path).metrics
    assert not meets_bar(metrics, 1.0), (name, metrics.max_abs_diff)
    assert first_not_passed(metrics).startswith("first not passed: prompt a-victim, position ")


def test_bit_exactness_catches_the_ulp_that_closeness_forgives(used, plain, stack, tmp_path):
    serve(stack, used, PROMPTS, tmp_path / "baseline")
    serve(stack, used, PROMPTS, tmp_path / "again")
    again = compare_folders(tmp_path / "baseline", tmp_path / "again").metrics
    assert meets_bar(again, 1.0, bit_exact=True)

    def one_ulp_up(weight: Any) -> Any:
        place = np.unravel_index(np.abs(weight).argmax(), weight.shape)
        weight[place] = np.nextafter(weight[place], np.float32(np.inf))
        return weight

    with changed(used, "model.layers.0.attention.wo.weight", one_ulp_up):
        serve(stack, used, PROMPTS, tmp_path / "changed")
    metrics = compare_folders(tmp_path / "baseline", tmp_path / "changed").metrics
    assert meets_bar(metrics, 1.0)
    assert not meets_bar(metrics, 1.0, bit_exact=True)
    assert first_not_passed(metrics, bit_exact=True).startswith("first not equal bit for bit: prompt ")


def test_a_wrong_rope_position_is_caught(stack, plain, tmp_path, own_folder):
    """Every row of a decode step is rotated by the next position's angle; lengths and cache are right."""
    from mindspore import Tensor

    from serving.model.llama import load

    served = load(stack, 0, lambda message, done, total: None)
    served.warm()
    turned = load(stack, 0, lambda message, done, total: None)
    tables = turned._network.model.freqs_mgr
    tables.freqs_cos, tables.freqs_sin = (
        Tensor(np.roll(angles.asnumpy(), -1, axis=0)) for angles in (tables.freqs_cos, tables.freqs_sin)
    )
    turned.kv_cache = served.kv_cache
    turned.warm()
    mixed = PrefillAndDecode(served, turned)
    metrics = check(stack, mixed, plain.rows, PROMPTS, tmp_path).metrics
    assert not meets_bar(metrics, 1.0)
    assert first_not_passed(metrics) == "first not passed: prompt a-victim, position 13: outside the tolerance"


class PrefillAndDecode:
    """Prefill steps go to one model, decode steps to another."""

    def __init__(self, prefill: Any, decode: Any) -> None:
        self.vocab_size = prefill.vocab_size
        self._models = {StepKind.prefill: prefill, StepKind.decode: decode}

    def forward(self, batch: Any) -> Any:
        return self._models[batch.kind].forward(batch)

    def warm(self) -> None:
        """They are."""


def test_fifty_clean_random_batches_raise_no_alarm(model, plain, stack, tmp_path):
    """Whatever is batched with what, in whatever order, after whatever was in the cache before."""
    policies = [policy for policy in Policy if policy is not Policy.original]
    for seed in range(50):
        rng = np.random.default_rng(seed)
        serving = stack.serving
        before = serving.policy, serving.prefill.max_prompts, serving.prefill.max_tokens
        serving.policy = policies[seed % len(policies)]
        serving.prefill.max_prompts, serving.prefill.max_tokens = int(rng.integers(1, 5)), int(rng.integers(8, 80))
        prompts = [
            Prompt(f"p-{n}", rng.integers(0, 512, rng.integers(1, 30)).tolist(), int(rng.integers(1, 10)))
            for n in range(rng.integers(1, 7))
        ]
        try:
            metrics = check(stack, model, plain.rows, prompts, tmp_path / str(seed)).metrics
        finally:
            serving.policy, serving.prefill.max_prompts, serving.prefill.max_tokens = before
        assert meets_bar(metrics, 1.0), (seed, first_not_passed(metrics))
        assert metrics.text_match_rate == 1, (seed, metrics.first_divergent_prompt_id)
