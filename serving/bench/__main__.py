"""`make bench-engine`: what the engine costs, measured through HTTP. The last line is one line of JSON."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from serving.bench import idle, ladder, real_model, waiting
from serving.bench.judge_stream import BadAnswer
from serving.bench.tool import ToolFailed
from serving.config import Fake, cache_dir
from serving.processes.supervisor import ServingError

PARTS = ("wait", "ladder", "idle", "model")


def run(parts: list[str], num_rounds: int, folder: Path) -> dict[str, Any]:
    """The figures of the parts asked for; those of others are null."""
    measures: dict[str, Callable[[], Any]] = {
        "wait": lambda: waiting.measure(folder, num_rounds),
        "ladder": lambda: ladder.measure(folder, num_rounds),
        "idle": lambda: idle.measure(folder, ladder.IDLE_S),
        "model": lambda: real_model.measure(folder, cache_dir(), num_rounds),
    }
    return {part: measures[part]() if part in parts else None for part in PARTS}


def figures(found: dict[str, Any]) -> dict[str, Any]:
    """Flat, as the last line shows them."""
    wait, rungs, model = found["wait"], found["ladder"], found["model"]
    zero = rungs["ladder"][Fake.model.value] if rungs else {}
    flat: dict[str, Any] = {f"ratio_b{size}": wait["ratios"][size] if wait else None for size in waiting.STEP_MS}
    flat["zero_cost_tokens_per_s_b64"] = zero.get("tokens_per_s_b64")
    flat["zero_cost_step_ms_b1"] = zero.get("step_ms_b1")
    flat["idle_cpu_percent"] = found["idle"]
    for size in real_model.BATCH_SIZES:
        flat[f"model_ratio_b{size}"] = model["ratios"][size] if model else None
        flat[f"model_bare_tokens_per_s_b{size}"] = model["bare_tokens_per_s"][size] if model else None
    flat["model_tokens_equal"] = model["tokens_equal"] if model else None
    flat["ladder"] = rungs["ladder"] if rungs else None
    return flat


def show_steps(found: dict[str, Any]) -> None:
    """Where a step's time goes, by the engine's own account."""
    wait = found["wait"]["steps"] if found["wait"] else {}
    shown = {f"wait-only {name}": steps for name, steps in wait.items()}
    shown |= {name: found[name]["steps"] for name in ("ladder", "model") if found[name]}
    for name, steps in shown.items():
        for kind, parts in steps.items():
            times = "  ".join(
                f"{part.removesuffix('_us')} {values['p50']:.0f}/{values['p99']:.0f}"
                for part, values in parts.items()
                if isinstance(values, dict)
            )
            print(f"{name}, {kind} × {parts['count']} steps, us p50/p99: {times}", flush=True)


def main() -> None:
    """Exits 0, or 1 with one line of error."""
    parser = argparse.ArgumentParser(prog="python -m serving.bench", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to measure")
    parser.add_argument("--rounds", type=int, default=5, help="rounds per figure, of which the median is given")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error(f"--rounds {arguments.rounds}: must be at least 1")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: the stacks are ended and the folder removed
    try:
        with tempfile.TemporaryDirectory(prefix="plumbline-bench-") as folder:
            found = run(arguments.only, arguments.rounds, Path(folder))
    except (BadAnswer, ToolFailed, ServingError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    show_steps(found)
    print(json.dumps(figures(found)))


if __name__ == "__main__":
    main()
