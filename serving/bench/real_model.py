"""The default model behind the whole stack, beside the same model in a bare loop: what the stack costs it."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from statistics import median
from typing import Any

from omegaconf import OmegaConf

from serving.bench.server import serving
from serving.bench.tool import Tool
from serving.bench.waiting import rounded
from serving.config import DeviceConfig, ModelConfig, StackConfig

BATCH_SIZES = (1, 4, 16)
PROMPT_TOKENS = 21  # the mean of the contest's speed task
MAX_NEW_TOKENS = 64
_CONF = Path(__file__).parents[2] / "conf"


def default_stack(cache_dir: Path) -> StackConfig:
    """The default experiment's model and device, with room for the largest batch."""
    model = _from_yaml(ModelConfig, "model/smollm2_135m.yaml")
    stack = StackConfig(model=model, device=_from_yaml(DeviceConfig, "device/cpu.yaml"), cache_dir=str(cache_dir))
    stack.serving.batch.decode = stack.serving.prefill.max_prompts = BATCH_SIZES[-1]
    # Graphs for what is run here and no more: each takes half a minute to compile the first time.
    stack.serving.batch.buckets = list(BATCH_SIZES)
    block_size = stack.serving.cache.block_size
    stack.device.decode_blocks_buckets = [-(-(PROMPT_TOKENS + MAX_NEW_TOKENS) // block_size)]
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
    """Ratio of the engine's tokens/s through HTTP to the bare loop's, per batch size; both take turns.

    Each side runs in processes of its own; the one that waits takes no processor time.
    """
    ratios: dict[int, list[float]] = {size: [] for size in BATCH_SIZES}
    bare_rates: dict[int, list[float]] = {size: [] for size in BATCH_SIZES}
    num_equal = num_compared = 0
    with serving(default_stack(cache_dir), folder / "model") as server:
        bare_dir = folder / "bare"
        bare_dir.mkdir()
        arguments = ["--config", str(server.supervisor.run_dir / "stack.json"), "--folder", str(bare_dir)]
        with Tool("serving.model.bare_loop", arguments, bare_dir / "bare_loop.log") as bare:
            bare.read()  # it says when it is ready
            for round_number in range(num_rounds + 1):
                for size in BATCH_SIZES:
                    count = MAX_NEW_TOKENS if round_number else 4  # the first round warms up
                    alone = bare.ask(prompts=prompts(size), max_new_tokens=count)
                    wave = server.wave(prompts(size), count)
                    if not round_number:
                        continue
                    rate = size * count / alone["wall_s"]
                    bare_rates[size].append(rate)
                    ratios[size].append(wave.tokens_per_s / rate)
                    what = (
                        f"round {round_number}, batch {size}: bare {rate:.1f}, engine {wave.tokens_per_s:.1f} tokens/s"
                    )
                    print(what, file=sys.stderr, flush=True)
                    num_equal += equal_tokens(alone["token_ids"], wave.token_ids)
                    num_compared += size * count
        steps = server.steps()
    for size in BATCH_SIZES:
        bare_median = median(bare_rates[size])
        print(f"model, batch {size}: bare loop {bare_median:.1f} tokens/s, engine ÷ bare {rounded(ratios[size])}")
    print(f"tokens equal on both sides: {num_equal} of {num_compared}", flush=True)
    return {
        "ratios": {size: median(values) for size, values in ratios.items()},
        "bare_tokens_per_s": {size: median(values) for size, values in bare_rates.items()},
        "tokens_equal": num_equal / num_compared,
        "model": server.supervisor.stack.model.name,
        "steps": steps,
    }
