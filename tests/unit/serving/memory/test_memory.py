"""The arithmetic of memory against sums done by hand, and the verdict on machines made up for the purpose."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cli.compose import compose_config
from serving.config import BatchConfig, CacheConfig, DeviceConfig, ModelShape, PrefillConfig, StackConfig
from serving.memory.fit import Available, DoesNotFit, available, fit, known_shape, require
from serving.memory.graphs import graphs_bytes
from serving.memory.plan import MemoryPlan, num_parameters, plan, plan_for
from serving.weights.folder import config_json

GB = 10**9
SEVEN_B = ModelShape(
    vocab_size=32000, hidden_size=4096, intermediate_size=11008, num_layers=32, num_heads=32, num_kv_heads=32
)
TINY = ModelShape(vocab_size=10, hidden_size=8, intermediate_size=12, num_layers=1, num_heads=4, num_kv_heads=2)


def seven_b(num_blocks: int = 1024, dtype: str = "float16", target: str = "Ascend") -> MemoryPlan:
    """The contest's cache: 1024 blocks of 16 tokens, 4096 tokens at most."""
    device = DeviceConfig(target=target, dtype=dtype)
    return plan(SEVEN_B, 4096, CacheConfig(16, num_blocks), BatchConfig(1), PrefillConfig(1, 4096), device, 1_000_000)


def test_seven_b_has_as_many_parameters_as_its_paper_says() -> None:
    assert num_parameters(SEVEN_B) == 6_738_415_616
    assert num_parameters(replace(SEVEN_B, tie_word_embeddings=True)) == 6_738_415_616 - 32000 * 4096


def test_a_tiny_sum_by_hand() -> None:
    # embedding and head 2*10*8, Q and O 2*8*8, K and V 2*8*4, three of 12*8, norms 2*8, last norm 8
    assert num_parameters(TINY) == 160 + 128 + 64 + 288 + 16 + 8
    device = DeviceConfig(target="Ascend", dtype="float16")
    made = plan(TINY, 20, CacheConfig(4, 9), BatchConfig(3), PrefillConfig(2, 6), device, 100)
    assert made.weights_bytes == 664 * 2
    assert made.block_bytes == 2 * 1 * 2 * 2 * 2 * 4  # K and V, layers, KV heads, head size, bytes, tokens
    assert made.kv_cache_bytes == 9 * made.block_bytes
    assert made.min_blocks == 6  # five of four tokens hold twenty, and the reserved one
    assert made.activation_bytes == 20 * (16 + 36) * 2  # a prompt of 20 tokens; gate, up, product beat Q, K, V, out
    assert made.logits_bytes == 3 * 10 * (2 + 4)
    assert made.attention_bytes == 0  # fused
    assert made.least_host_bytes == round(1.3 * 1328) + 100 + 660_000_000


def test_the_contests_cache_takes_what_its_participants_counted() -> None:
    made = seven_b()
    assert made.block_bytes // 16 == 524_288  # 0.5 MB per token
    assert made.kv_cache_bytes == 8 * 1024**3
    assert 22 * GB < made.device_bytes < 23 * GB
    assert 17 * GB < made.host_bytes < 19 * GB  # 13.5 GB load in 32 GB of RAM


def test_on_cpu_only_half_precision_gathers_keys_and_values() -> None:
    def made(dtype: str) -> MemoryPlan:
        device = DeviceConfig(dtype=dtype)
        return plan(TINY, 20, CacheConfig(4, 9), BatchConfig(3), PrefillConfig(2, 6), device, 0)

    assert made("float32").attention_bytes == 0
    assert made("float16").attention_bytes == 20 * 20 * (4 * 4 + 2 * 4) * 2
    assert made("float32").host_bytes == made("float32").least_host_bytes + made("float32").graphs_bytes


def test_graphs_keep_the_values_of_their_rows() -> None:
    assert graphs_bytes(TINY, 4) == 60_000_000 + 5_000_000 + 63 * (10 * 8 + 3 * 12) * 4


def stack_of(*overrides: str) -> StackConfig:
    config = compose_config(list(overrides))
    return StackConfig(config.serving, config.model, config.device, "", "cache")


def verdict(free: Available, *overrides: str, with_reference: bool = False) -> tuple[str, str, str]:
    stack = stack_of(*overrides)
    found = fit(stack, plan_for(stack, stack.model.shape), free, with_reference)
    assert "\n" not in found.line + found.problem + found.doubt
    return found.line, found.problem, found.doubt


def test_a_laptop_of_24_gb_holds_two_layers_and_not_thirty_two() -> None:
    laptop = Available(ram=20 * GB, shm=GB, device=None)
    line, problem, doubt = verdict(laptop, "model=llama2_7b_random", with_reference=True)
    assert line.startswith("memory: weights 2.67 GB + KV cache 536.9 MB + activations ")
    assert line.endswith("20.00 GB of RAM available")
    assert (problem, doubt) == ("", "")
    _, problem, _ = verdict(laptop, "model=llama2_7b_random", "model.shape.num_layers=32")
    assert problem.startswith("the agent needs at least ") and "of RAM, 20.00 GB are available: " in problem
    assert problem.endswith("set device.dtype to float16 or lower model.shape.num_layers")


def test_too_many_blocks_are_named_with_the_number_that_fits() -> None:
    free = Available(ram=8 * GB, shm=GB, device=None)
    _, problem, _ = verdict(free, "model=llama2_7b_random", "serving.cache.num_blocks=8192")
    assert "lower serving.cache.num_blocks from 8,192 to " in problem
    fitting = int(problem.split(" to ")[-1].split()[0].replace(",", ""))
    assert verdict(free, "model=llama2_7b_random", f"serving.cache.num_blocks={fitting}")[1] == ""
    assert verdict(free, "model=llama2_7b_random", f"serving.cache.num_blocks={fitting + 1}")[1] != ""


def test_the_reference_and_every_agent_count() -> None:
    free = Available(ram=5 * GB, shm=GB, device=None)
    assert verdict(free, "model=llama2_7b_random")[1] == ""
    problem = verdict(free, "model=llama2_7b_random", with_reference=True)[1]
    assert problem.startswith("the agent and the reference need at least ") and "accuracy=none" in problem
    assert verdict(free, "model=llama2_7b_random", "serving.agent.device_ids=[0,1]")[1].startswith("the 2 agents need")


def test_between_what_is_sure_and_what_is_likely_there_is_a_warning() -> None:
    free = Available(ram=round(4.1 * GB), shm=GB, device=None)
    _, problem, doubt = verdict(free, "model=llama2_7b_random")
    assert not problem and doubt.startswith("the agent needs up to ") and "it may be killed" in doubt


def test_shared_memory_counts() -> None:
    problem = verdict(Available(ram=20 * GB, shm=1000, device=None), "model=llama2_7b_random")[1]
    assert problem.startswith("/dev/shm needs ") and "0.0 MB are available: lower serving.batch.decode" in problem


def test_an_npu_is_held_to_max_device_memory_and_its_host_to_the_weights() -> None:
    overrides = ["device=ascend_910b4", "model=llama2_7b", "serving.cache.num_blocks=1024"]
    roomy = Available(ram=32 * GB, shm=GB, device=28 * 2**30)
    line, problem, doubt = verdict(roomy, *overrides)
    assert (problem, doubt) == ("", "") and "30.06 GB allowed" in line and "of RAM while loading" in line
    assert "accuracy.reference=baseline" in verdict(roomy, *overrides, with_reference=True)[2]
    problem = verdict(replace(roomy, device=20 * GB), *overrides)[1]
    assert problem.startswith("the model needs ") and "lower serving.cache.num_blocks from 1,024 to " in problem
    assert "at least 18." in verdict(replace(roomy, ram=12 * GB), *overrides)[1]
    assert available(stack_of("device=ascend_910b4")).device == 28 * 2**30


def test_the_shape_is_known_beforehand_or_once_the_model_is_prepared(tmp_path: Path) -> None:
    assert known_shape(stack_of("model=llama2_7b_random")) is not None
    stack = replace(stack_of(), run_dir=str(tmp_path))
    said: list[str] = []
    assert known_shape(stack) is None and not require(stack, False, said.append) and not said
    (tmp_path / "model.json").write_text(json.dumps({"folder": str(tmp_path)}))
    (tmp_path / "config.json").write_text(json.dumps(config_json(TINY, 16)))
    assert known_shape(stack) == TINY
    assert require(stack, False, said.append) and said[0].startswith("memory: weights 0.0 MB")


def test_what_cannot_fit_is_refused_after_the_sum_is_said() -> None:
    said: list[str] = []
    with pytest.raises(DoesNotFit, match=r"^the agent needs at least [\d,]+\.\d\d GB of RAM"):
        require(stack_of("model=llama2_7b_random", "model.shape.num_layers=3200"), False, said.append)
    assert len(said) == 1 and said[0].startswith("memory: weights 2,")


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_half_precision_halves_weights_and_cache(dtype: str) -> None:
    made, full = seven_b(dtype=dtype), seven_b(dtype="float32")
    factor = 1 if dtype == "float32" else 2
    assert (full.weights_bytes, full.kv_cache_bytes) == (factor * made.weights_bytes, factor * made.kv_cache_bytes)
