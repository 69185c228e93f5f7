"""Through HTTP, with a device that only waits as long as a 910B4 computes: how much of the ideal rate is left?"""

from __future__ import annotations

import contextlib
from pathlib import Path
from statistics import median
from typing import Any

from serving.bench import answers
from serving.bench.server import serving, wait_only
from serving.config import Fake

STEP_MS = {1: 22.5, 64: 48.0}  # batch size -> decode step of a 910B4 in fp16, LLaMA2-7B (the contest teams' reports)
MAX_NEW_TOKENS = 128


def measure(folder: Path, num_rounds: int) -> dict[str, Any]:
    """Ratio of tokens/s through HTTP to batch size / step time, prefill and connection set-up included in the former.

    Both stacks run at once and take turns; what is idle costs nothing (see idle.py).
    """
    ratios: dict[int, list[float]] = {size: [] for size in STEP_MS}
    with contextlib.ExitStack() as stack:
        servers = {
            size: stack.enter_context(serving(wait_only(size, step_ms), folder / f"wait-b{size}"))
            for size, step_ms in STEP_MS.items()
        }
        for round_number in range(num_rounds + 1):
            for size, server in servers.items():
                count = MAX_NEW_TOKENS if round_number else 8  # the first round warms up
                asked = answers.prompts(size)
                wave = server.wave(asked, count)
                answers.check(asked, count, Fake.off, wave.token_ids)
                if round_number:
                    ratios[size].append(wave.tokens_per_s * STEP_MS[size] / 1e3 / size)
        steps = {f"b{size}": server.steps() for size, server in servers.items()}
    for size, values in ratios.items():
        print(f"wait-only device, batch {size}, {STEP_MS[size]} ms/step: ratio {rounded(values)}", flush=True)
    return {"ratios": {size: median(values) for size, values in ratios.items()}, "steps": steps}


def rounded(values: list[float]) -> str:
    """Every round, and their median."""
    return f"{' '.join(f'{value:.4f}' for value in values)}, median {median(values):.4f}"
