"""Starts processes again that ended unasked: so many times each, after a pause that doubles. Knows no processes.

It has a thread of its own, which outlives what it starts: the kernel ends a child with the thread that spawned it
(see parent_watch.py).
"""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable

FIRST_BACKOFF_S = 0.25
MAX_BACKOFF_S = 10.0


def backoff_s(attempt: int) -> float:
    """The pause before the attempt-th (1, 2, …) restart of one process."""
    return min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(attempt - 1, 30))


class Restarter:
    """`start(name)` is called on the thread of this object, never after halt() has returned."""

    def __init__(self, max_restarts: int, start: Callable[[str], None]) -> None:
        self._max_restarts = max_restarts  # of each name
        self._start = start
        self._attempts: Counter[str] = Counter()
        self._names: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._halted = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="restarter", daemon=True)
        self._thread.start()

    def accept(self, name: str) -> bool:
        """A process has ended: whether it will be started again."""
        if self._halted.is_set() or self._attempts[name] >= self._max_restarts:
            return False
        self._attempts[name] += 1
        self._names.put(name)
        return True

    def halt(self) -> None:
        """Start nothing any more; what was started lives on until close()."""
        self._halted.set()
        with self._lock:
            pass

    def close(self) -> None:
        """End the thread, and with it what it started."""
        self._names.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (name := self._names.get()) is not None:
            self._halted.wait(backoff_s(self._attempts[name]))
            with self._lock:
                if not self._halted.is_set():
                    self._start(name)
