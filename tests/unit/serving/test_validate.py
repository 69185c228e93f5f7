"""A stack that cannot run is refused before anything starts: one line per problem, with the full key."""

from __future__ import annotations

import pytest

from serving.config import ModelKind, RopeRows, StackConfig, WeightSource
from serving.validate import problems


def changed(**values: object) -> StackConfig:
    """The default stack with dotted keys (written with __) set."""
    stack = StackConfig()
    for key, value in values.items():
        *path, last = key.split("__")
        target: object = stack
        for name in path:
            target = getattr(target, name)
        assert hasattr(target, last)
        setattr(target, last, value)
    return stack


def test_the_default_stack_can_run():
    assert problems(StackConfig()) == []


def test_the_real_model_prefills_in_chunks_and_over_shared_prefixes():
    assert problems(changed(serving__cache__prefix_reuse=True, serving__prefill__chunked=True)) == []


def test_the_arithmetic_stack_can_run_with_every_option():
    assert (
        problems(
            changed(
                model__kind=ModelKind.arithmetic,
                model__source=WeightSource.none,
                serving__cache__prefix_reuse=True,
                serving__prefill__chunked=True,
                serving__http__host="0.0.0.0",
                serving__http__api_key="k",
            )
        )
        == []
    )


@pytest.mark.parametrize(
    ("stack", "start", "text"),
    [
        (changed(serving__batch__decode=0), "serving.batch.decode=0: ", "at least 1"),
        (
            changed(serving__cache__num_blocks=64),
            "serving.cache.num_blocks=64: ",
            "1008 tokens, but one sequence of model.seq_length=1024 must fit: at least 65",
        ),
        (changed(serving__cache__block_size=0), "serving.cache.block_size=0: ", "at least 1"),
        (changed(serving__queue__max_requests=4), "serving.batch.decode=8: ", "serving.queue.max_requests=4"),
        (changed(serving__http__port=70000), "serving.http.port=70000: ", "65535"),
        (changed(serving__http__host="0.0.0.0"), "serving.http.host=0.0.0.0: ", "serving.http.api_key"),
        (changed(serving__agent__device_ids=[0, 0]), "serving.agent.device_ids=[0, 0]: ", "different"),
        (
            changed(serving__agent__device_ids=[0, 1], serving__agent__tensor_parallel=2),
            "serving.agent.tensor_parallel=2: ",
            "model.kind=llama",
        ),
        (
            changed(
                model__kind=ModelKind.arithmetic,
                model__source=WeightSource.none,
                serving__agent__device_ids=[0, 1, 2],
                serving__agent__tensor_parallel=2,
            ),
            "serving.agent.tensor_parallel=2: ",
            "divide the 3",
        ),
        (changed(serving__agent__tensor_parallel=0), "serving.agent.tensor_parallel=0: ", "at least 1"),
        (changed(serving__agent__step_timeout_s=0), "serving.agent.step_timeout_s=0: ", "more than 0"),
        (changed(device__arithmetic_step_ms=-1), "device.arithmetic_step_ms=-1: ", "at least 0"),
        (changed(device__arithmetic_step_ms=float("nan")), "device.arithmetic_step_ms=nan: ", "at least 0"),
        (changed(device__dtype="int8"), "device.dtype=int8: ", "float32"),
        (changed(model__kind=ModelKind.arithmetic), "model.source=wheel: ", "source none"),
        (changed(model__source=WeightSource.gguf), "model.path=: ", "model.source=gguf"),
        (changed(model__source=WeightSource.checkpoint), "model.tokenizer=: ", "tokenizer.model"),
        (changed(model__rope_rows=RopeRows.interleaved), "model.rope_rows=interleaved: ", "model.source=wheel"),
        (
            changed(model__source=WeightSource.random, model__shape__num_heads=3),
            "model.shape.num_heads=3: ",
            "model.shape.hidden_size=64",
        ),
        (
            changed(model__source=WeightSource.random, model__shape__num_kv_heads=3),
            "model.shape.num_kv_heads=3: ",
            "model.shape.num_heads=4",
        ),
        (
            changed(model__source=WeightSource.random, model__shape__num_layers=0),
            "model.shape.num_layers=0: ",
            "at least 1",
        ),
        (changed(model__seq_length=1), "model.seq_length=1: ", "at least 2"),
    ],
)
def test_each_problem_is_one_line_with_its_key(stack, start, text):
    found = [line for line in problems(stack) if line.startswith(start)]
    assert len(found) == 1 and text in found[0] and "\n" not in found[0]
