"""The timed server as a child process, and what its log says really happened."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from harness.bench.case import Case

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class TrueReply:
    """One request as the server saw it: ns on CLOCK_MONOTONIC. sent_ns [num_tokens]: each token's handing over."""

    request_id: str
    received_ns: int
    sent_ns: NDArray[np.int64]

    @property
    def ttft_ms(self) -> float:
        """From the request's arrival at this host to its first token's leaving."""
        return float(self.sent_ns[0] - self.received_ns) / 1e6

    @property
    def itls_ms(self) -> NDArray[np.float64]:
        """Gaps between tokens [num_tokens - 1]."""
        return np.diff(self.sent_ns) / 1e6


class TimedServerProcess:
    """Runs from construction to `close`; it ends with this process, however that ends."""

    def __init__(self, case: Case, folder: Path) -> None:
        self._log = folder / "reference.jsonl"
        command = [sys.executable, "-m", "harness.bench.timed_server", "--log", str(self._log)]
        command += ["--ttft-ms", str(case.ttft_ms), "--itl-ms", str(case.itl_ms)]
        self._process = subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{json.loads(self._process.stdout.readline())['port']}"

    def close(self) -> list[TrueReply]:
        """Stop it; the log in order of arrival."""
        self._process.communicate()
        rows = map(json.loads, self._log.read_text(encoding="utf-8").splitlines())
        replies = [TrueReply(row["id"], row["received_ns"], np.asarray(row["sent_ns"])) for row in rows]
        return sorted(replies, key=lambda reply: reply.received_ns)

    def __enter__(self) -> TimedServerProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()
