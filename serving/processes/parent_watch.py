"""Ties a child process to its parent's life, so that a killed supervisor leaves no orphan."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
PARENT_VARIABLE = "PLUMBLINE_PARENT_PID"


def die_with_parent() -> None:
    """Ask the kernel to SIGKILL this process when the thread that spawned it ends.

    The parent may have died before the call; then its pid is no longer ours and we leave at once.
    Does nothing when started by hand (no PLUMBLINE_PARENT_PID). Linux only.
    """
    parent = os.environ.get(PARENT_VARIABLE)
    if parent is None:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != int(parent):
        sys.exit(1)
