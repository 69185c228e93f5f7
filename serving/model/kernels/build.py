"""`python -m serving.model.kernels.build`: compiles the kernels into the cache folder; `make setup` runs it.

A library's folder is named by all that goes into it: sources, compiler, flags. So one that another version or another
processor needs lies beside it, and a folder appears whole or not at all. It knows no MindSpore.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from serving.config import cache_dir

LIBRARY = "kernels.so"
_HERE = Path(__file__).parent
_FLAGS = ["-std=c++17", "-O3", "-fno-math-errno", "-Wno-psabi", "-fPIC", "-shared", "-pthread"]
_AVX2 = ["-mavx2", "-mfma"]
_CPU_INFO = Path("/proc/cpuinfo")
COST = "the default model's steps take about 3 times as long, and start-up compiles slower graphs"

Say = Callable[[str], None]


class NoKernels(Exception):
    """There is no library of kernels, in one line that says why."""


@dataclass(frozen=True, slots=True)
class Compiler:
    """`command` and the first line of its `--version`."""

    command: str
    version: str


def find_compiler() -> Compiler:
    """The system's C++ compiler. Raises NoKernels."""
    for name in ("g++", "c++"):
        command = shutil.which(name)
        if command:
            done = subprocess.run([command, "--version"], capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return Compiler(command, done.stdout.splitlines()[0])
    raise NoKernels("no C++ compiler (g++): install one, e.g. apt-get install g++")


def processor_flags(cpu_info: str) -> list[str]:
    """Flags for what /proc/cpuinfo says this processor has; none = the plain path."""
    features = next((line.split(":")[1].split() for line in cpu_info.splitlines() if line.startswith("flags")), [])
    return _AVX2 if {"avx2", "fma"} <= set(features) else []


def library(cache: Path, say: Say, compiler: Compiler | None = None, cpu_info: str | None = None) -> Path:
    """The library for this machine, built if need be. Raises NoKernels.

    `compiler`, `cpu_info`: for tests; else the system's.
    """
    compiler = compiler or find_compiler()
    if cpu_info is None:
        cpu_info = _CPU_INFO.read_text() if _CPU_INFO.is_file() else ""
    flags = [*_FLAGS, *processor_flags(cpu_info)]
    folder = cache / "kernels" / _digest(compiler, flags)
    if (folder / LIBRARY).is_file():
        return folder / LIBRARY
    if folder.parent.is_dir() and any(folder.parent.glob(f"*/{LIBRARY}")):
        say("kernels: those in the cache are another version's or another processor's; building them anew")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        room = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        room = Path(tempfile.mkdtemp(prefix="plumbline-kernels-"))
        say(f"kernels: {folder.parent} cannot be written ({error.strerror}): built in {room}, for this run alone")
        return _compile(compiler, flags, room)
    try:
        _compile(compiler, flags, room)
        try:
            room.rename(folder)
        except OSError:  # another process was first; its library is as good
            if not (folder / LIBRARY).is_file():
                raise
    finally:
        shutil.rmtree(room, ignore_errors=True)
    return folder / LIBRARY


def _compile(compiler: Compiler, flags: list[str], folder: Path) -> Path:
    command = [compiler.command, *flags, "-o", str(folder / LIBRARY), *map(str, sorted(_HERE.glob("*.cc")))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise NoKernels(f"{compiler.command} failed: {lines[-1]}")
    return folder / LIBRARY


def _digest(compiler: Compiler, flags: list[str]) -> str:
    hasher = hashlib.sha256("\n".join([platform.machine(), compiler.version, *flags]).encode())
    for path in sorted([*_HERE.glob("*.cc"), *_HERE.glob("*.h")]):
        hasher.update(path.read_bytes())
    return hasher.hexdigest()[:16]


def main() -> int:
    """Always 0: without kernels everything works, more slowly."""
    try:
        print(f"kernels: {library(cache_dir(), print)}")
    except NoKernels as error:
        print(f"kernels: {error}; without them {COST}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
