"""What a stack costs that nobody asks for anything."""

from __future__ import annotations

import time
from pathlib import Path

from serving.bench import answers
from serving.bench.server import serving, wait_only


def measure(folder: Path, seconds: float) -> float:
    """Processor time of front end and agent together, in percent of one core, after it has served something."""
    with serving(wait_only(64, 0.0), folder / "idle") as server:
        server.wave(answers.prompts(64), 16)
        time.sleep(1.0)
        before, start = sum(server.cpu_s().values()), time.monotonic()
        time.sleep(seconds)
        percent = 100 * (sum(server.cpu_s().values()) - before) / (time.monotonic() - start)
    print(f"idle for {seconds:g} s: {percent:.2f} % of one core (front end and agent)", flush=True)
    return percent
