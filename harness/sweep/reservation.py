"""Devices for variants that run at once on one machine: each variant holds its own, and none is given twice.

A reservation is a lock on a file in the sweep's folder; the kernel frees it however its holder ends.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

_FOLDER = ".devices"
_RETRY_S = 0.5


@contextmanager
def reserved(sweep_dir: Path, pool: list[int], count: int, on_wait: Callable[[], None]) -> Iterator[list[int]]:
    """Wait until `count` devices of the pool are free and hold them for the block; their ids, ascending."""
    folder = sweep_dir / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    waited = False
    while True:
        with ExitStack() as held:
            found = _take(held, folder, pool, count)
            if len(found) == count:
                yield sorted(found)
                return
        if not waited:
            waited = True
            on_wait()
        time.sleep(_RETRY_S)


def _take(held: ExitStack, folder: Path, pool: list[int], count: int) -> list[int]:
    """Lock as many free devices as are wanted; the stack releases them."""
    found: list[int] = []
    for device in pool:
        if len(found) == count:
            break
        file: IO[bytes] = held.enter_context((folder / f"{device}.lock").open("ab"))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        found.append(device)
    return found
