"""`make soak`: minutes of random load with random disconnects; at the end nothing may be left over.

Answers are checked against the arithmetic model computed by hand. Exits 1 if an answer was wrong, if a sequence, block
or connection is left, or if memory grew. The last line is one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import uvloop

from serving.bench.answers import expected_ids
from serving.bench.judge_stream import BadAnswer, JudgeStream, request_bytes
from serving.bench.server import Server, serving, wait_only
from serving.config import Fake, StackConfig
from serving.processes.supervisor import ServingError

NUM_CLIENTS = 48
STEP_MS = 1.0
SAMPLE_S = 1.0
SETTLE_S = 5.0  # for the server to notice who has left
MAX_GROWTH = 1.05  # of a process's memory, last third against the second third of the run
_SLACK_BYTES = 4 * 2**20  # below this growth is the allocator's noise


def tight_stack() -> StackConfig:
    """Few places and few blocks, so that queueing, preemption and refusal happen all the time."""
    stack = wait_only(16, STEP_MS)
    serving = stack.serving
    serving.cache.num_blocks = 160  # 16 sequences of up to 25 blocks do not fit
    serving.cache.prefix_reuse = True
    serving.queue.max_requests = 40
    serving.prefill.max_prompts = 4
    return stack


@dataclass
class Soak:
    """Random clients against one server, each request's fate counted."""

    server: Server
    seconds: float
    random: random.Random
    fates: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    memory: dict[str, list[int]] = field(default_factory=dict)  # bytes per process, one per SAMPLE_S

    async def run(self) -> None:
        """All clients until the time is over."""
        end_s = time.monotonic() + self.seconds
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch_memory(end_s))
            for _ in range(NUM_CLIENTS):
                tasks.create_task(self._client(end_s))

    async def _client(self, end_s: float) -> None:
        while time.monotonic() < end_s:
            await self._request()
            await asyncio.sleep(self.random.expovariate(20.0))

    async def _request(self) -> None:
        chance = self.random
        prompt = "".join(chance.choices("abcdefgh ", k=chance.randint(1, 150)))
        if chance.random() < 0.3:
            prompt = "a prefix that many prompts share, as system prompts do: " + prompt
        count = chance.randint(1, 200)
        data = request_bytes(prompt, count)
        leave_after = chance.randint(1, count) if chance.random() < 0.3 else 0
        if chance.random() < 0.05:
            data = data[: chance.randint(1, len(data) - 1)]  # half a request, and gone
            leave_after = -1
        stream = JudgeStream(data, count, max(leave_after, 0))
        transport, _ = await asyncio.get_running_loop().create_connection(
            lambda: stream, "127.0.0.1", int(self.server.supervisor.url.rpartition(":")[2])
        )
        if leave_after < 0:
            await asyncio.sleep(chance.random() * 0.05)
            transport.abort()
        await stream.done
        self._judge(prompt, count, leave_after, stream)

    def _judge(self, prompt: str, count: int, leave_after: int, stream: JudgeStream) -> None:
        if leave_after < 0:
            self.fates["half sent"] += 1
        elif stream.status == 429:
            self.fates["queue full"] += 1
        elif leave_after:
            self.fates["left"] += 1
        else:
            try:
                got = stream.token_ids()
            except BadAnswer as error:
                self.fates["broken"] += 1
                self.wrong.append(str(error))
                return
            self.fates["finished"] += 1
            if got != expected_ids(prompt, count, Fake.off):
                self.wrong.append(f"wrong tokens for {prompt!r}")

    async def _watch_memory(self, end_s: float) -> None:
        while time.monotonic() < end_s:
            for name, pid in self.server.supervisor.pids.items():
                self.memory.setdefault(name, []).append(psutil.Process(pid).memory_info().rss)
            await asyncio.sleep(SAMPLE_S)


def growth(samples: list[int]) -> tuple[int, int]:
    """Median bytes in the second and in the last third of a run."""
    third = max(1, len(samples) // 3)
    return int(median(samples[third : 2 * third] or samples)), int(median(samples[-third:]))


def verdict(soak: Soak, stats: dict[str, Any]) -> dict[str, Any]:
    """What is left, and `problems`: empty if nothing is."""
    agent, http = stats["engine"]["agents"][0], stats["http"]
    left = {
        "http_open": http["open"],
        "requests_live": agent["requests_live"],
        "requests_running": agent["requests_running"],
        "requests_waiting": agent["requests_waiting"],
        "kv_blocks_used": agent["kv_blocks_used"],
    }
    problems = [f"{name} is {count}, not 0" for name, count in left.items() if count]
    problems += soak.wrong[:5]
    memory_mb = {}
    for name, samples in soak.memory.items():
        before, after = growth(samples)
        memory_mb[name] = [round(before / 2**20, 1), round(after / 2**20, 1)]
        if after > max(before * MAX_GROWTH, before + _SLACK_BYTES):
            problems.append(f"{name} grew from {before:,} to {after:,} bytes")
    return {
        "seconds": soak.seconds,
        "requests": soak.fates.total(),
        "fates": dict(soak.fates),
        "wrong_answers": len(soak.wrong),
        **left,
        "preemptions": agent["preemptions"],
        "prefix_hit_rate": agent["prefix_hit_rate"],
        "steps": agent["steps_total"],
        "memory_mb": memory_mb,
        "problems": problems,
    }


def settled(server: Server) -> dict[str, Any]:
    """/stats once nothing is open, or after SETTLE_S."""
    deadline_s = time.monotonic() + SETTLE_S
    while True:
        stats = server.stats()
        if not stats["http"]["open"] or time.monotonic() > deadline_s:
            return stats
        time.sleep(0.1)


def main() -> None:
    """Exits 0 if nothing is left over, else 1."""
    parser = argparse.ArgumentParser(prog="python -m serving.bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long the load lasts")
    parser.add_argument("--seed", type=int, default=0, help="of the random load")
    arguments = parser.parse_args()
    if not arguments.minutes > 0:
        parser.error(f"--minutes {arguments.minutes}: must be more than 0")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with (
            tempfile.TemporaryDirectory(prefix="plumbline-soak-") as folder,
            serving(tight_stack(), Path(folder) / "soak") as server,
        ):
            soak = Soak(server, 60 * arguments.minutes, random.Random(arguments.seed))
            uvloop.run(soak.run())
            result = verdict(soak, settled(server))
    except (ServingError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    for problem in result["problems"]:
        print(f"problem: {problem}", file=sys.stderr)
    print(json.dumps(result))
    sys.exit(1 if result["problems"] else 0)


if __name__ == "__main__":
    main()
