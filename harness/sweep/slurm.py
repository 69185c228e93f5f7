"""Ends the jobs of a sweep that was given to Slurm: they live on after the command that submitted them.

Not by submitit's Job: its cancel() does not wait, and it asks sacct for a state at most every ten minutes.
"""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

_FOLDER = ".submitit"  # Hydra's launcher keeps a folder per job of the array in it, named ARRAY_INDEX
_ARRAY = re.compile(r"(\d+)_\d+")
_PATIENCE_S = 60.0  # a job has Slurm's KillWait, 30 s unless set otherwise, to end by itself
_LOOK_EVERY_S = 1.0
_COMMAND_S = 30.0


def cancel(sweep_dir: Path) -> int:
    """Cancel every job of the sweep that waits or runs, and wait until none does; returns how many there were.

    A running variant is interrupted as by Ctrl-C. Raises OSError, naming the array, if Slurm does not do as told.
    """
    arrays = _arrays(sweep_dir)
    left = num_found = _num_left(arrays) if arrays else 0
    if num_found:
        _slurm("scancel", "--quiet", *arrays)
    deadline_s = time.monotonic() + _PATIENCE_S
    while left:
        if time.monotonic() > deadline_s:
            raise OSError(f"{left} jobs of Slurm's array {', '.join(arrays)} did not end within {_PATIENCE_S:.0f} s")
        time.sleep(_LOOK_EVERY_S)
        left = _num_left(arrays)
    return num_found


def _arrays(sweep_dir: Path) -> list[str]:
    """Ids of the job arrays that this sweep was given to Slurm as; several if it was interrupted."""
    names = (path.name for path in (sweep_dir / _FOLDER).glob("*_*"))
    return sorted({found[1] for name in names if (found := _ARRAY.fullmatch(name))}, key=int)


def _num_left(arrays: list[str]) -> int:
    """Jobs that wait, run or are ending, of those that Slurm still knows: it forgets ended ones, and their ids."""
    listed = _slurm("squeue", "--noheader", "--array", "--format=%F").split()
    return sum(array in arrays for array in listed)


def _slurm(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND_S, check=False)
    except subprocess.TimeoutExpired:
        raise OSError(f"{command[0]} did not answer within {_COMMAND_S:.0f} s") from None
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise OSError(f"{command[0]} ended with {done.returncode}: {lines[0] if lines else 'it says nothing'}")
    return done.stdout
