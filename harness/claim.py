"""Takes the folder of a run or sweep, so that exactly one command has it, and lets `latest` name it."""

from __future__ import annotations

import fcntl
import itertools
import os
import time
from pathlib import Path

from harness import whole_file

LATEST = "latest"  # in the folder of all outputs: a link to the newest run
_LOCK = ".lock"


def claim(parent: Path, suffix: str = "") -> Path:
    """Make parent/<time><suffix>, or with -2, -3, … after the time if another command has it; absolute.

    Raises OSError where no folder can be made.
    """
    parent = parent.resolve()
    parent.mkdir(parents=True, exist_ok=True)
    now = time.strftime("%Y-%m-%d_%H-%M-%S")
    for number in itertools.count(1):
        folder = parent / (now + (f"-{number}" if number > 1 else "") + suffix)
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise AssertionError("numbers do not end")


def hold(folder: Path) -> bool:
    """Keep a folder for this process until it ends, however it ends; False if another process has it."""
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return False
    return True  # closing the file would free the lock: it stays open


def point_latest_at(run_dir: Path, outputs: Path) -> None:
    """Make <outputs>/latest name this run folder; replaced in one step, so it never names nothing."""
    with whole_file.writing(outputs / LATEST) as link:
        link.symlink_to(run_dir.resolve(), target_is_directory=True)
