"""What a person sees while waiting: a live line on a terminal, sparse plain lines when output goes to a file."""

from __future__ import annotations

import threading
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


class Display:
    """One task's progress. Calls may come from any thread. `plain_every_s`: least time between plain lines."""

    def __init__(self, console: Console, plain_every_s: float = 0.0) -> None:
        self._console = console
        self._plain_every_s = plain_every_s
        self._lock = threading.Lock()
        self._started_s = time.monotonic()
        self._message = ""
        self._plain_next_s = self._started_s
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task("starting", total=None)

    def __enter__(self) -> Display:
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the live line; safe to call twice."""
        self._progress.stop()

    def show(self, message: str, done: int, total: int) -> None:
        """Say what is happening. `total` 0 = unknown."""
        with self._lock:
            if self._console.is_terminal:
                self._progress.update(self._task, description=message, completed=done, total=total or None)
            else:
                self._show_plain(message, done, total)

    def _show_plain(self, message: str, done: int, total: int) -> None:
        now_s = time.monotonic()
        if message == self._message or (now_s < self._plain_next_s and done < total):
            return
        self._message, self._plain_next_s = message, now_s + self._plain_every_s
        count = f" ({done}/{total})" if total else ""
        self._console.print(f"[{now_s - self._started_s:6.1f} s] {message}{count}", markup=False, soft_wrap=True)
