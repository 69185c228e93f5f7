"""Status lines from a child process to its supervisor: one JSON object per line on an inherited pipe."""

from __future__ import annotations

import json
import os
import sys
from typing import NoReturn

FD_VARIABLE = "PLUMBLINE_STATUS_FD"


def report(phase: str, **fields: object) -> None:
    """Tell the supervisor where this process is; without a supervisor (no inherited pipe) nothing is written.

    A supervisor that has gone away is not this function's business: the kernel ends its children (see parent_watch).
    """
    fd = os.environ.get(FD_VARIABLE)
    if fd is None:
        return
    line = json.dumps({"phase": phase, **fields}) + "\n"
    try:
        os.write(int(fd), line.encode())
    except BrokenPipeError:
        return


def fail(message: str) -> NoReturn:
    """Report one line of error to the supervisor and to stderr, and exit with status 1."""
    report("error", message=message)
    print(f"error: {message}", file=sys.stderr, flush=True)
    sys.exit(1)
