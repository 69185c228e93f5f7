"""The default model behind the whole stack, beside the same model in a bare loop: what the stack costs it."""

from __future__ import annotations

import itertools
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from omegaconf import OmegaConf

from serving.bench.server import Server, Wave, serving
from serving.bench.tool import Tool
from serving.bench.waiting import rounded
from serving.config import DeviceConfig, ModelConfig, StackConfig
from serving.processes import stack_file

BATCH_SIZES = (1, 4, 16)
PROMPT_TOKENS = 21  # the mean of the contest's speed task
MAX_NEW_TOKENS = 64
_CONF = Path(__file__).parents[2] / "conf"


def default_stack(cache_dir: Path) -> StackConfig:
    """The default experiment's model and device, with room for the largest batch."""
    model = _from_yaml(ModelConfig, "model/smollm2_135m.yaml")
    stack = StackConfig(model=model, device=_from_yaml(DeviceConfig, "device/cpu.yaml"), cache_dir=str(cache_dir))
    stack.serving.batch.decode = stack.serving.prefill.max_prompts = BATCH_SIZES[-1]
    return stack


def _from_yaml(schema: type[Any], name: str) -> Any:
    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), OmegaConf.load(_CONF / name)))


def prompts(count: int) -> list[list[int]]:
    """Token ids, different for each sequence, that any tokenizer has."""
    return [[1 + (13 * index + 7 * number) % 250 for index in range(PROMPT_TOKENS)] for number in range(count)]


def equal_tokens(ours: list[list[int]], theirs: list[list[int]]) -> int:
    """How many tokens are the same at the same place."""
    pairs = zip(itertools.chain(*ours), itertools.chain(*theirs), strict=True)
    return sum(one == other for one, other in pairs)


def measure(folder: Path, cache_dir: Path, num_rounds: int) -> dict[str, Any]:
    """Ratio of the engine's tokens/s through HTTP to the bare loop's, per batch size.

    Each side runs in processes of its own; the one that waits takes no processor time. In a round each has two turns,
    bare, engine, engine, bare: a machine that grows faster or slower meanwhile favours neither.
    """
    rounds: dict[int, list[_Round]] = {size: [] for size in BATCH_SIZES}
    with serving(default_stack(cache_dir), folder / "model") as server:
        bare_dir = folder / "bare"
        bare_dir.mkdir()
        arguments = ["--config", str(server.supervisor.run_dir / stack_file.FILE_NAME), "--folder", str(bare_dir)]
        with Tool("serving.model.bare_loop", arguments, bare_dir / "bare_loop.log") as bare:
            bare.read()  # it says when it is ready
            for size in BATCH_SIZES:
                _round(bare, server, size, max_new_tokens=4)  # warms both up
            for number, size in itertools.product(range(1, num_rounds + 1), BATCH_SIZES):
                found = _round(bare, server, size, MAX_NEW_TOKENS)
                rounds[size].append(found)
                rates = f"bare {found.bare_tokens_per_s:.1f}, engine {found.engine_tokens_per_s:.1f} tokens/s"
                print(f"round {number}, batch {size}: {rates}", file=sys.stderr, flush=True)
        steps = server.steps()
    bare_rates = {size: median(one.bare_tokens_per_s for one in found) for size, found in rounds.items()}
    ratios = {size: [one.engine_tokens_per_s / one.bare_tokens_per_s for one in rounds[size]] for size in BATCH_SIZES}
    for size in BATCH_SIZES:
        print(f"model, batch {size}: bare loop {bare_rates[size]:.1f} tokens/s, engine ÷ bare {rounded(ratios[size])}")
    num_equal = sum(one.num_equal for found in rounds.values() for one in found)
    num_compared = sum(one.num_compared for found in rounds.values() for one in found)
    print(f"tokens equal on both sides: {num_equal} of {num_compared}", flush=True)
    return {
        "ratios": {size: median(values) for size, values in ratios.items()},
        "bare_tokens_per_s": bare_rates,
        "tokens_equal": num_equal / num_compared,
        "model": server.supervisor.stack.model.name,
        "steps": steps,
    }


@dataclass(frozen=True)
class _Round:
    """Two turns of each side with the same prompts."""

    bare_tokens_per_s: float
    engine_tokens_per_s: float
    num_equal: int
    num_compared: int


def _round(bare: Tool, server: Server, size: int, max_new_tokens: int) -> _Round:
    def alone() -> dict[str, Any]:
        return bare.ask(prompts=prompts(size), max_new_tokens=max_new_tokens)

    def served() -> Wave:
        return server.wave(prompts(size), max_new_tokens)

    first, waves, last = alone(), [served(), served()], alone()
    loops = [first, last]
    num_tokens = size * max_new_tokens
    return _Round(
        2 * num_tokens / sum(one["wall_s"] for one in loops),
        2 * num_tokens / sum(wave.wall_s for wave in waves),
        sum(equal_tokens(one["token_ids"], wave.token_ids) for one, wave in zip(loops, waves, strict=True)),
        2 * num_tokens,
    )
