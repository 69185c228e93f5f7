"""A stack to measure: the real processes, their processor time, their own account of it."""

from __future__ import annotations

import contextlib
import json
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from serving.bench.tool import Tool
from serving.config import Fake, ModelKind, StackConfig, WeightSource
from serving.processes.supervisor import Supervisor


def wait_only(batch_size: int, step_ms: float, fake: Fake = Fake.off) -> StackConfig:
    """A device that only waits: the arithmetic model, every step `step_ms` long."""
    stack = StackConfig()
    stack.model.kind, stack.model.source, stack.model.name = ModelKind.arithmetic, WeightSource.none, "arithmetic"
    stack.device.arithmetic_step_ms = step_ms
    stack.serving.fake = fake
    stack.serving.batch.decode = stack.serving.prefill.max_prompts = batch_size
    stack.serving.prefill.max_tokens = 64 * batch_size
    stack.serving.cache.num_blocks = 1 + 64 * batch_size
    return stack


@dataclass
class Wave:
    """What came of some streams that were started together."""

    num_tokens: int
    wall_s: float  # before the first connection until the end of the last answer
    cpu_s: float  # of the client
    token_ids: list[list[int]]

    @property
    def tokens_per_s(self) -> float:
        """Of all streams together."""
        return self.num_tokens / self.wall_s


@dataclass
class Server:
    """A running stack and a client for it."""

    supervisor: Supervisor
    client: Tool

    def wave(self, prompts: Sequence[str | list[int]], max_new_tokens: int) -> Wave:
        """One stream for each prompt, all at once."""
        answer = self.client.ask(prompts=prompts, max_new_tokens=max_new_tokens)
        return Wave(len(prompts) * max_new_tokens, **answer)

    def cpu_s(self) -> dict[str, float]:
        """Processor time so far of each serving process."""
        times = {name: psutil.Process(pid).cpu_times() for name, pid in self.supervisor.pids.items()}
        return {name: spent.user + spent.system for name, spent in times.items()}

    def stats(self) -> dict[str, Any]:
        """The front end's /stats."""
        with urllib.request.urlopen(f"{self.supervisor.url}/stats", timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def steps(self) -> dict[str, Any]:
        """Percentiles of the newest steps' parts, by kind, of the first agent."""
        found: dict[str, Any] = self.stats()["engine"]["agents"][0]["steps"]
        return found


class _Progress:
    """A line on stderr for every stage of a start that takes long."""

    def __init__(self) -> None:
        self._message = ""

    def __call__(self, message: str, done: int, total: int) -> None:
        if message != self._message:
            print(f"{message} ({done}/{total})" if total else message, file=sys.stderr, flush=True)
        self._message = message


@contextlib.contextmanager
def serving(stack: StackConfig, folder: Path) -> Iterator[Server]:
    """Start the stack in a folder of its own, and leave no process behind."""
    folder.mkdir(parents=True)
    stack.run_dir = str(folder)
    show_progress = _Progress()
    with Supervisor(stack, folder) as supervisor:
        if stack.model.kind is ModelKind.llama:
            supervisor.run_tool("prepare", "serving.weights.prepare", [], show_progress)
        supervisor.start(show_progress)
        port = supervisor.url.rpartition(":")[2]
        with Tool("serving.bench.client", ["--port", port], folder / "client.log") as client:
            yield Server(supervisor, client)
