"""The Ascend configuration itself, run on CPU: same fields, fp16, 7B's heads, the operators replaced by stand-ins.

What only the NPU can show (its kernels, its memory, its speed) is not verified here.
"""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli.compose import compose_config
from serving.config import ModelShape, StackConfig, WeightSource
from serving.weights.served_folder import announce
from tests.support.sequences import decode_batch, generate, prefill_batch, random_sequences, rows

pytestmark = pytest.mark.mindspore


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> StackConfig:
    """device=ascend_910b4 with nothing changed but the target and the switches that no CPU has."""
    from serving.weights.prepare import prepare

    config = compose_config(["device=ascend_910b4", "model=llama2_7b"])
    folder = tmp_path_factory.mktemp("ascend")
    device = replace(config.device, target="CPU", jit_level="", infer_boost=False, max_device_memory="")
    seven_b = config.model.shape
    shape = ModelShape(
        vocab_size=512, hidden_size=seven_b.hidden_size, intermediate_size=688, num_layers=1,
        num_heads=seven_b.num_heads, num_kv_heads=seven_b.num_kv_heads, rms_norm_eps=seven_b.rms_norm_eps,
    )  # fmt: skip
    model = replace(config.model, source=WeightSource.random, shape=shape, seq_length=128)
    stack = StackConfig(config.serving, model, device, str(folder), str(folder / "cache"))
    stack.serving.cache.num_blocks = 33
    stack.device.compile_cache = False
    announce(stack, prepare(stack, lambda message, done, total: None))
    return stack


@pytest.fixture(scope="module")
def served(stack: StackConfig, own_folder: None) -> Any:
    from serving.model.llama import load

    model = load(stack, 0, lambda message, done, total: None)
    model.warm()
    return model


def test_it_is_served_in_half_precision_by_a_dynamic_graph(served: Any, stack: StackConfig) -> None:
    import mindspore as ms

    assert list(served._graphs) == [0]  # the one that takes any number of rows
    types = {name: parameter.dtype for name, parameter in served._network.parameters_and_names()}
    assert {kind for name, kind in types.items() if "norm" not in name} == {ms.float16}
    cache = served._network.model.layers[0].attention.infer_attention.paged_attention_mgr.key_cache
    heads = (stack.model.shape.num_kv_heads, stack.model.shape.hidden_size // stack.model.shape.num_heads)
    assert tuple(cache.shape) == (33, stack.serving.cache.block_size, *heads)


def test_its_logits_are_those_of_the_plain_network_up_to_half_precision(served: Any, stack: StackConfig) -> None:
    from serving.model.plain import PlainLlama

    rng = np.random.default_rng(2)
    lengths = [16, 17, 5]
    block_size = stack.serving.cache.block_size
    sequences = random_sequences(rng, lengths, 4, block_size, 33, stack.model.shape.vocab_size)
    steps = generate(served, sequences, 4)
    plain = PlainLlama(stack, 32, lambda message, done, total: None)
    for index, sequence in enumerate(sequences):
        positions = list(range(lengths[index] - 1, lengths[index] + 3))
        expected = plain.rows(sequence.token_ids, positions)
        np.testing.assert_allclose(np.stack([step[index] for step in steps]), expected, atol=5e-2 * expected.std())


def test_batching_changes_no_sequence(served: Any, stack: StackConfig) -> None:
    block_size, vocab_size = stack.serving.cache.block_size, stack.model.shape.vocab_size

    def first(lengths: list[int]) -> Any:
        sequences = random_sequences(np.random.default_rng(4), lengths, 2, block_size, 33, vocab_size)
        served.forward(prefill_batch(sequences))
        for sequence in sequences:
            sequence.token_ids.append(3)
        return rows(served.forward(decode_batch(sequences)), 1)[0]

    alone, together = first([6]), first([6, 30, 9])
    np.testing.assert_allclose(alone, together, atol=2e-2 * alone.std())


SIGNATURES = {
    "ApplyRotaryPosEmb": ["query", "key", "cos", "sin", "position_ids"],
    "ReshapeAndCache": ["key", "value", "key_cache", "value_cache", "slot_mapping"],
    "PagedAttention": ["query", "key_cache", "value_cache", "block_tables", "context_lens"],
    "RmsNorm": ["x", "gamma"],
}  # fmt: skip


@pytest.mark.parametrize("name", SIGNATURES)
def test_every_ascend_operator_exists_with_the_inputs_that_are_used(name: str, own_folder: None) -> None:
    from mindspore.ops import auto_generate

    from serving.model import cpu_kernels

    inputs = list(inspect.signature(getattr(auto_generate, name).__call__).parameters)[1:]
    assert inputs[: len(SIGNATURES[name])] == SIGNATURES[name]
    stand_in = getattr(cpu_kernels, name, None)
    if stand_in is not None:
        assert len(list(inspect.signature(stand_in.construct).parameters)[1:]) == len(SIGNATURES[name])


def test_on_ascend_mindformers_own_operators_stay(stack: StackConfig, own_folder: None) -> None:
    """The network is built for Ascend, not run: its cells hold Ascend's operators, and its norms the fused one."""
    from mindspore.ops import auto_generate

    from serving.model.network import paged_network, read_config
    from serving.weights.served_folder import locate

    ascend = replace(stack, device=replace(stack.device, target="Ascend"))
    network = paged_network(read_config(Path(locate(stack))), ascend, None)
    attention = network.model.layers[0].attention.infer_attention
    assert isinstance(attention.paged_attention_mgr.reshape_and_cache, auto_generate.ReshapeAndCache)
    assert isinstance(attention.paged_attention_mgr.paged_attention, auto_generate.PagedAttention)
    assert isinstance(attention.rotary_embedding.rotary_embedding_op, auto_generate.ApplyRotaryPosEmb)
    assert network.config.fused_rms_norm
