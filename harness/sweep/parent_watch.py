"""Ties variants in other processes of this machine to the command that started the sweep. Linux only."""

from __future__ import annotations

import os
import select
import signal
import threading
from contextlib import suppress

import psutil

PID_VARIABLE = "PLUMBLINE_SWEEP_PID"
_WORKER = "submitit.core._submit"
_PATIENCE_S = 20.0


def interrupt_with_parent() -> None:
    """In a variant's process: be interrupted as by Ctrl-C on SIGTERM, and when the sweep's command ends, however."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    pid = int(os.environ.get(PID_VARIABLE, "0"))
    if not pid:
        return
    try:
        parent = os.pidfd_open(pid)
    except ProcessLookupError:
        raise KeyboardInterrupt from None

    def wait() -> None:
        select.select([parent], [], [])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent_watch", daemon=True).start()


def stop_variants() -> None:
    """In the sweep's command: interrupt all variants below it and wait for them; kill those that do not end."""
    below = psutil.Process().children(recursive=True)
    for process in below:
        with suppress(psutil.Error):
            if _WORKER in process.cmdline():
                process.terminate()
    _, left = psutil.wait_procs(below, timeout=_PATIENCE_S)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
