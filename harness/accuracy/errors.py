"""What can be wrong with a folder of captured logits. It knows nothing of how they are compared."""

from __future__ import annotations

from pathlib import Path


class UnusableInput(Exception):
    """A folder or file that cannot be compared at all: its path and, in one line, why."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason
