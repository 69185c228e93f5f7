"""The same streams answered at four depths by a model that costs nothing: what each layer adds to a step."""

from __future__ import annotations

import contextlib
from pathlib import Path
from statistics import median
from typing import Any

from serving.bench import answers
from serving.bench.server import Server, serving, wait_only
from serving.config import Fake

RUNGS = (Fake.frontend, Fake.worker, Fake.agent, Fake.model)
ADDS = {
    Fake.frontend: "HTTP, text, JSON",
    Fake.worker: "queue, scheduler, blocks",
    Fake.agent: "link, shared memory, agent process",
    Fake.model: "batch, model call, sampler",
}
MAX_NEW_TOKENS = {1: 512, 64: 256}
IDLE_S = 10.0


def measure(folder: Path, num_rounds: int) -> dict[str, Any]:
    """{"ladder": {rung: {"tokens_per_s_b64", "step_ms_b1", …}}, "steps": parts of the deepest rung's steps}."""
    rates: dict[tuple[Fake, int], list[float]] = {(rung, size): [] for rung in RUNGS for size in MAX_NEW_TOKENS}
    with contextlib.ExitStack() as stack:
        servers = {
            rung: stack.enter_context(serving(wait_only(64, 0.0, rung), folder / f"fake-{rung}")) for rung in RUNGS
        }
        for round_number in range(num_rounds + 1):  # the first round warms up
            for (rung, size), seen in rates.items():
                rate = _tokens_per_s(servers[rung], rung, size)
                if round_number:
                    seen.append(rate)
        steps = servers[Fake.model].steps()
    ladder = {
        rung.value: {
            "step_ms_b1": 1e3 / median(rates[rung, 1]),
            "tokens_per_s_b1": median(rates[rung, 1]),
            "step_ms_b64": 64e3 / median(rates[rung, 64]),
            "tokens_per_s_b64": median(rates[rung, 64]),
        }
        for rung in RUNGS
    }
    _show(ladder)
    return {"ladder": ladder, "steps": steps}


def _tokens_per_s(server: Server, rung: Fake, size: int) -> float:
    asked, count = answers.prompts(size), MAX_NEW_TOKENS[size]
    wave = server.wave(asked, count)
    answers.check(asked, count, rung, wave.token_ids)
    return wave.tokens_per_s


def _show(ladder: dict[str, dict[str, float]]) -> None:
    print("answered at   ms/step b1   added    ms/step b64   added    tokens/s b64   what it adds")
    before = {"step_ms_b1": 0.0, "step_ms_b64": 0.0}
    for name, row in ladder.items():
        cells = [f"{row[key]:10.3f}  {row[key] - before[key]:+7.3f}" for key in before]
        print(f"{name:<12}{cells[0]}    {cells[1]}   {row['tokens_per_s_b64']:12.0f}   {ADDS[Fake(name)]}", flush=True)
        before = {key: row[key] for key in before}
