"""Looks at the host: memory, room, limits, clock."""

from __future__ import annotations

import os
import resource
import shutil
from pathlib import Path

from serving.config import StackConfig
from serving.doctor.facts import MachineFacts
from serving.memory.fit import free_ram_bytes
from serving.processes.supervisor import ServingError, check_can_listen

_CLOCK = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
_CPUS = Path("/sys/devices/system/cpu")
_SHM = Path("/dev/shm")


def probe(stack: StackConfig, folders: dict[str, Path]) -> MachineFacts:
    """folders: what each is for -> where; one that does not exist yet is judged by what it would be made in."""
    _, max_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MachineFacts(
        num_cpus=len(os.sched_getaffinity(0)),
        ram_available_bytes=free_ram_bytes(),
        absent_files=[file for file in (stack.model.path, stack.model.tokenizer) if file and not Path(file).exists()],
        disk_free_bytes={purpose: _free_bytes(folder) for purpose, folder in folders.items()},
        shm_free_bytes=_free_bytes(_SHM) if _SHM.is_dir() else None,
        port_error=_port_error(stack),
        max_files=max_files if max_files != resource.RLIM_INFINITY else 1 << 30,
        clock_source=_read(_CLOCK),
        governors=[
            governor for path in sorted(_CPUS.glob("cpu[0-9]*/cpufreq/scaling_governor")) if (governor := _read(path))
        ],
    )


def _free_bytes(folder: Path) -> int:
    existing = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.is_dir())
    return shutil.disk_usage(existing).free


def _port_error(stack: StackConfig) -> str:
    try:
        check_can_listen(stack.serving.http)
    except ServingError as error:
        return str(error).partition("; ")[0]
    return ""


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except OSError:
        return None
