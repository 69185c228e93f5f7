"""The jobs of a sweep are cancelled, no others; stand-ins for Slurm's commands keep a queue in a file."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from harness.sweep import slurm

# A queue is a line per job, its array's id. scancel takes the arrays it is given out of it.
_SQUEUE = "import sys; print(open({queue!r}).read(), end='')"
_SCANCEL = """
import sys
left = [line for line in open({queue!r}) if line.strip() not in sys.argv[1:]]
open({queue!r}, "w").writelines(left)
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The queue's file; squeue and scancel on PATH work on it."""
    queue, commands = tmp_path / "queue", tmp_path / "bin"
    commands.mkdir()
    queue.write_text("7\n7\n12\n99\n")
    for name, text in (("squeue", _SQUEUE), ("scancel", _SCANCEL)):
        command(commands / name, text.format(queue=str(queue)))
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    return queue


def command(path: Path, text: str) -> None:
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(0o755)


def sweep(tmp_path: Path, *jobs: str) -> Path:
    for job in jobs:
        (tmp_path / "sweep" / ".submitit" / job).mkdir(parents=True)
    return tmp_path / "sweep"


def test_only_the_sweep_s_own_arrays_are_cancelled(tmp_path: Path, cluster: Path) -> None:
    assert slurm.cancel(sweep(tmp_path, "7", "7_0", "7_1", "12_0", "5_0")) == 3
    assert cluster.read_text() == "99\n"


def test_a_sweep_whose_jobs_have_ended_asks_for_nothing(tmp_path: Path, cluster: Path) -> None:
    command(cluster.parent / "bin" / "scancel", "raise SystemExit('not to be called')")
    assert slurm.cancel(sweep(tmp_path, "5_0")) == 0
    assert slurm.cancel(tmp_path / "never submitted") == 0


def test_jobs_that_do_not_end_are_named(tmp_path: Path, cluster: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm, "_PATIENCE_S", 0.0)
    command(cluster.parent / "bin" / "scancel", "")
    with pytest.raises(OSError, match="2 jobs of Slurm's array 7 did not end within 0 s"):
        slurm.cancel(sweep(tmp_path, "7_0"))


def test_what_slurm_complains_of_is_said_in_one_line(tmp_path: Path, cluster: Path) -> None:
    command(cluster.parent / "bin" / "squeue", "raise SystemExit('squeue: error: no controller\\nmore')")
    with pytest.raises(OSError, match=r"^squeue ended with 1: squeue: error: no controller$"):
        slurm.cancel(sweep(tmp_path, "7_0"))
