"""One child process with a status pipe. It knows how to start, watch and end a process, not what the process does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from serving.processes import parent_watch, status


@dataclass(frozen=True, slots=True)
class ChildEvent:
    """Something a child said (`phase` and `fields`), or its end (phase "exit", field "returncode")."""

    child: Child
    phase: str
    fields: dict[str, object] = field(default_factory=dict)


class Child:
    """A `python -m MODULE` process in a session of its own, so that Ctrl-C in a terminal reaches only its parent.

    Events arrive on a thread of this object through `on_event`; the last one is always "exit".
    """

    def __init__(
        self, name: str, module: str, arguments: Sequence[str], log_path: Path, *, is_tool: bool = False
    ) -> None:
        self.name = name
        self.is_tool = is_tool  # a tool ends by itself; for any other child an end that nobody asked for is a failure
        self.log_path = log_path
        self.error: str | None = None  # what the child itself reported before it failed
        self._command = [sys.executable, "-m", module, *arguments]
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None

    def start(self, environment: dict[str, str], on_event: Callable[[ChildEvent], None]) -> None:
        """Spawn the process. Must be called from a thread that outlives the child (see parent_watch.py)."""
        read_fd, write_fd = os.pipe()
        variables = environment | {
            status.FD_VARIABLE: str(write_fd),
            parent_watch.PARENT_VARIABLE: str(os.getpid()),
            "PYTHONUNBUFFERED": "1",
        }
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | variables,
                pass_fds=[write_fd],
                cwd=Path(__file__).parents[2],
                start_new_session=True,
            )
        os.close(write_fd)
        self._reader = threading.Thread(target=self._watch, args=(read_fd, on_event), name=f"watch {self.name}")
        self._reader.daemon = True
        self._reader.start()

    @property
    def pid(self) -> int:
        """Process id; raises RuntimeError before start."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Signal the child's whole session; a process that is gone already is fine."""
        if not self.running:
            return
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return

    def wait(self, timeout_s: float) -> bool:
        """Wait for the process to end; False if it still runs after `timeout_s`."""
        if self._process is None:
            return True
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def exit_reason(self) -> str:
        """One line on how the process ended: its own error if it reported one, else its status and last log line."""
        if self.error:
            return f"{self.name}: {self.error}"
        code = None if self._process is None else self._process.poll()
        how = f"was killed by {signal.Signals(-code).name}" if code is not None and code < 0 else f"exited with {code}"
        last = last_line(self.log_path)
        return f"{self.name} {how}" + (f": {last}" if last else "") + f" (log: {self.log_path})"

    def _watch(self, read_fd: int, on_event: Callable[[ChildEvent], None]) -> None:
        with os.fdopen(read_fd, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                fields = json.loads(line)
                phase = str(fields.pop("phase"))
                if phase == "error":
                    self.error = str(fields.get("message"))
                on_event(ChildEvent(self, phase, fields))
        assert self._process is not None
        on_event(ChildEvent(self, "exit", {"returncode": self._process.wait()}))


def last_line(path: Path, num_bytes: int = 4096) -> str:
    """The last non-empty line of a log, or "" if there is none."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - num_bytes))
        lines = [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


def end(children: Sequence[Child], grace_s: float = 3.0) -> None:
    """End all children: SIGTERM, then SIGKILL for those that still run after `grace_s`. None is left on return."""
    for child in children:
        child.signal(signal.SIGTERM)
    for child in children:
        if not child.wait(grace_s):
            child.signal(signal.SIGKILL)
            child.wait(5.0)
