"""`python -m serving.bench.client --port P`: waves of streams, on demand, in a process of its own.

Reads one JSON object per line from stdin, {"prompts", "max_new_tokens"}, runs a stream for each prompt, all at once,
and answers with one JSON object per wave: {"wall_s", "cpu_s", "token_ids"}, or {"error"} and ends.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import sys
import time
from typing import Any

import uvloop

from serving.bench.judge_stream import BadAnswer, JudgeStream, request_bytes
from serving.processes.parent_watch import die_with_parent


def cpu_s() -> float:
    """Processor time of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def wave(port: int, prompts: list[str | list[int]], max_new_tokens: int) -> dict[str, Any]:
    """All streams together; timed from before the first connection until the last answer has ended.

    Raises BadAnswer or OSError.
    """
    loop = asyncio.get_running_loop()
    requests = [request_bytes(prompt, max_new_tokens) for prompt in prompts]
    cpu_before_s, start_ns = cpu_s(), time.monotonic_ns()

    async def one(request: bytes) -> JudgeStream:
        stream = JudgeStream(request, max_new_tokens)
        await loop.create_connection(lambda: stream, "127.0.0.1", port)
        await stream.done
        return stream

    streams = await asyncio.gather(*map(one, requests))
    wall_s = (time.monotonic_ns() - start_ns) / 1e9
    spent_s = cpu_s() - cpu_before_s
    return {"wall_s": wall_s, "cpu_s": spent_s, "token_ids": [stream.token_ids() for stream in streams]}


def say(content: dict[str, Any]) -> None:
    """One line to stdout, whole: an unbuffered print() may lose what a pipe does not take at once."""
    rest = memoryview(json.dumps(content).encode() + b"\n")
    while rest:
        rest = rest[os.write(sys.stdout.fileno(), rest) :]


def main() -> None:
    """Exits 0 at the end of stdin, 1 after a bad answer."""
    die_with_parent()
    parser = argparse.ArgumentParser(prog="python -m serving.bench.client", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    for line in sys.stdin:
        try:
            result = uvloop.run(wave(port, **json.loads(line)))
        except (BadAnswer, OSError) as error:
            say({"error": f"{type(error).__name__}: {error}"})
            sys.exit(1)
        say(result)


if __name__ == "__main__":
    main()
