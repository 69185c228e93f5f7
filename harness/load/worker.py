"""Entry point of one load generator process: `python -m harness.load.worker SPOOL_DIR NUMBER`, started by generator.py.

Talks to its parent in lines: JSON out on stdout (ready, counts, done, error), and on stdin `start <monotonic ns>`;
anything else there, or its end, stops the window. It knows nothing of other workers.
"""

from __future__ import annotations

import gc
import os
import resource
import sys
from pathlib import Path
from typing import Any

import orjson

from harness.load import protocols
from harness.load.connection import Endpoint
from harness.load.loop import LoadLoop, Window
from harness.load.plan import read_plan, spool_path
from harness.load.spool import SpoolWriter

_NICE = -10  # a send must not wait behind the measured server's own threads


def main(spool_dir: Path, number: int) -> int:
    """Run this worker's share of the plan; 0 unless it could not begin."""
    os.set_blocking(sys.stdout.fileno(), False)
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))
    plan = read_plan(spool_dir)
    where = protocols.target(plan.url)
    indices = list(range(number, len(plan.prompts), plan.num_workers))
    offsets_ns = plan.schedule.offsets_s * 1e9
    try:
        window = Window(
            endpoint=Endpoint(where),
            indices=indices,
            requests=[protocols.encode(where, plan.options, plan.prompts[i]) for i in indices],
            offsets_ns=[round(offsets_ns[i]) for i in indices] if len(offsets_ns) else None,
            concurrency=len(range(number, plan.schedule.concurrency, plan.num_workers)),
            timeout_ns=round(plan.timeout_s * 1e9),
            ahead=-(-plan.connections_ahead // plan.num_workers),
            max_connections=-(-plan.max_connections // plan.num_workers),
        )
        spool = SpoolWriter(spool_path(spool_dir, number))
        loop = LoadLoop(window, spool, _report, sys.stdin.fileno())
        loop.open_connections(_num_to_open(window))
    except (OSError, ValueError) as error:
        _say({"error": f"{plan.url}: {error}"})
        return 1
    gc.collect()
    gc.freeze()
    gc.disable()
    _say({"ready": True, "priority_raised": _raise_priority()})
    command = os.read(sys.stdin.fileno(), 4096).split()
    if command[:1] != [b"start"]:
        return 1
    before = resource.getrusage(resource.RUSAGE_SELF)
    loop.run(int(command[1]))
    after = resource.getrusage(resource.RUSAGE_SELF)
    spool.close()
    _say({"done": True, "cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime})
    return 0


def _num_to_open(window: Window) -> int:
    """At least one, so that an unreachable server is found out before the window."""
    wanted = max(1, window.ahead, window.concurrency)
    return min(wanted, max(1, len(window.requests)), window.max_connections or wanted)


def _raise_priority() -> bool:
    """Real time where allowed (a niced process still waits out its neighbours' time slices), else niced.

    The loop sleeps between events, and the kernel leaves 5 % of a core to others whatever happens.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(os.sched_get_priority_min(os.SCHED_RR)))
        return True
    except PermissionError:
        pass  # needs CAP_SYS_NICE or RLIMIT_RTPRIO
    try:
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    except PermissionError:
        return False
    return True


def _say(message: dict[str, Any]) -> None:
    os.set_blocking(sys.stdout.fileno(), True)
    os.write(sys.stdout.fileno(), orjson.dumps(message) + b"\n")


def _report(counts: dict[str, int]) -> None:
    """Running counts; left out when the parent is too busy to read them. A parent that is gone closes stdin as well."""
    try:
        os.write(sys.stdout.fileno(), orjson.dumps({"counts": counts}) + b"\n")
    except (BlockingIOError, BrokenPipeError):
        return


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
