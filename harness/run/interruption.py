"""Makes the ways in which a command is ended from outside one: an interruption, after which everything is kept."""

from __future__ import annotations

import os
import signal
import stat
from types import FrameType


def on_signals() -> None:
    """Raise KeyboardInterrupt on SIGTERM and, unless it is ignored (nohup), on SIGHUP, as on Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, _hung_up)


def _hung_up(number: int, frame: FrameType | None) -> None:
    """The terminal is gone: what is still said must not fail, or the run would be lost with it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for output in (1, 2):
        if stat.S_ISCHR(os.fstat(output).st_mode):
            os.dup2(nowhere, output)
    os.close(nowhere)
    signal.default_int_handler(number, frame)
