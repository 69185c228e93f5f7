"""A helper process that answers one JSON line per JSON line: the client, and the bare model loop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serving.processes.parent_watch import PARENT_VARIABLE


class ToolFailed(RuntimeError):
    """The helper ended, or said that it failed; the message is one line."""


class Tool:
    """`python -m MODULE` on two pipes; its stderr goes to `log_path`. Use as a context manager."""

    def __init__(self, module: str, arguments: Sequence[str], log_path: Path) -> None:
        self._module = module
        self._log_path = log_path
        with log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=os.environ | {PARENT_VARIABLE: str(os.getpid())},
                cwd=Path(__file__).parents[2],
                text=True,
            )

    def __enter__(self) -> Tool:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def ask(self, **question: object) -> dict[str, Any]:
        """One question, one answer. Raises ToolFailed."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise ToolFailed(f"{self._module} has ended (log: {self._log_path})") from None
        return self.read()

    def read(self) -> dict[str, Any]:
        """The next answer. Lines that are no JSON objects (libraries that print) are skipped. Raises ToolFailed."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                answer = self._parsed(line)
                if "error" in answer:
                    raise ToolFailed(f"{self._module}: {answer['error']}")
                return answer
        raise ToolFailed(f"{self._module} ended with {self._process.wait()} (log: {self._log_path})")

    def _parsed(self, line: str) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = json.loads(line)
        except ValueError as error:
            raise ToolFailed(f"{self._module} answered with no JSON: {error}") from None
        return answer
