"""Servers and plans for the tests of the load generator."""

import json
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.config import ArrivalConfig, ArrivalProcess, ClientProtocol
from harness.load import arrivals, generator
from harness.load.arrivals import Schedule
from harness.load.plan import LoadPlan
from harness.load.prompts import Prompt
from harness.load.protocols import RequestOptions

TTFT_MS, ITL_MS = 30.0, 5.0


class Reference:
    """The timed server as a child process; `log` can be read once it is closed."""

    def __init__(self, log: Path, ttft_ms: float = TTFT_MS, itl_ms: float = ITL_MS) -> None:
        self._log = log
        command = [sys.executable, "-m", "harness.bench.timed_server", "--log", str(log)]
        command += ["--ttft-ms", str(ttft_ms), "--itl-ms", str(itl_ms)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.url = f"http://127.0.0.1:{json.loads(self.process.stdout.readline())['port']}"

    def close(self) -> dict[str, Any]:
        """Stop it and return its log by request id."""
        self.process.communicate()
        return {row["id"]: row for row in map(json.loads, self._log.read_text().splitlines())}


class OddServer:
    """Answers each connection's first request with `answer(connection)`, in a thread."""

    def __init__(self, answer: Callable[[socket.socket, int], None]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._answer = answer
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        number = 0
        while True:
            connection, _ = self._listener.accept()
            threading.Thread(target=self._answer, args=(connection, number), daemon=True).start()
            number += 1


def reply(status: str, body: bytes, more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


END = b'{"event":"message","data":[{"generated_text":"a","finish_reason":"length","generated_tokens":1}]}\n'


def plan(url: str, schedule: Schedule, tokens: int = 8, protocol: str = "judge", **more: Any) -> LoadPlan:
    prompts = [Prompt(str(i), tokens, text=f"prompt {i}") for i in range(schedule.count)]
    return LoadPlan(url, RequestOptions(ClientProtocol(protocol), "reference"), prompts, schedule, **more)


def constant(rate: float, count: int) -> Schedule:
    return arrivals.schedule(ArrivalConfig(ArrivalProcess.constant, rate=rate, duration_s=(count + 0.5) / rate))


def outcomes(run: generator.LoadRun) -> Counter[str]:
    assert [record.index for record in run.records] == list(range(len(run.records)))
    return Counter(record.outcome.value for record in run.records)
