"""Facts about the machine and the source that a result depends on. It imports no heavy library to ask its version."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import psutil

PACKAGES = ("aiohttp", "hydra-core", "mindformers", "mindspore", "mlflow", "numpy", "omegaconf", "orjson", "tokenizers")


def environment(root: Path) -> dict[str, str]:
    """Names as in MLflow parameters: env.python, env.cpu, env.git_commit, … `root` is the source tree."""
    facts = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory_gb": f"{psutil.virtual_memory().total / 1e9:.1f}",
        **git(root),
        **{f"package.{name}": version for name in PACKAGES if (version := installed(name))},
    }
    return {f"env.{name}": value for name, value in facts.items()}


def installed(name: str) -> str:
    """Version of an installed distribution, or ''."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def cpu_model() -> str:
    """The processor's name as the kernel gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (
        line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Hardware", "CPU part"))
    )
    return next(names, "") or platform.processor() or platform.machine()


def git(root: Path) -> dict[str, str]:
    """Commit and whether the tree differs from it; both 'unknown' outside a repository."""
    commands = {"git_commit": ["rev-parse", "HEAD"], "git_status": ["status", "--porcelain", "--untracked-files=no"]}
    try:
        answers = {
            name: subprocess.run(
                ["git", "-C", str(root), *command], capture_output=True, text=True, timeout=10, check=True
            )
            for name, command in commands.items()
        }
    except (OSError, subprocess.SubprocessError):
        return {"git_commit": "unknown", "git_dirty": "unknown"}
    dirty = bool(answers["git_status"].stdout.strip())
    return {"git_commit": answers["git_commit"].stdout.strip(), "git_dirty": str(dirty).lower()}
