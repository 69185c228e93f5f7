"""The command line that every reference shares: read what a server captured, write the rows another path computes.

For every DIR/<prompt_id>.json it writes OUT/<prompt_id>.npy (float32 [positions, vocabulary]) and OUT/<prompt_id>.json;
last, OUT/manifest.json. It knows no model: it is given a function from token ids and positions to rows.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from serving import lifeline, stack_file, status
from serving.config import StackConfig
from serving.link.step import Float32

_PACKAGES = ("mindspore", "mindformers", "numpy")


@dataclass
class Capture:
    """One prompt of the logits task, as the server stored it."""

    path: Path
    about: dict[str, Any]
    token_ids: list[int]
    positions: list[int]  # rows are wanted after these tokens


@dataclass
class Reference:
    """What computes rows [len(positions), vocab_size] from (token_ids, positions), and how it is described."""

    rows: Callable[[list[int], list[int]], Float32]
    method: str
    vocab_size: int
    manifest: dict[str, Any] = field(default_factory=dict)


Opener = Callable[[StackConfig, list[Capture], Callable[[str, int, int], None]], Reference]


def read_captures(folder: Path) -> list[Capture]:
    """Every capture in the folder, by name. Raises ValueError naming a file that is none."""
    captures = []
    folder = folder.resolve()
    for path in sorted(path for path in folder.glob("*.json") if path.name != "manifest.json"):
        try:
            about = json.loads(path.read_text())
            token_ids, positions = about["prompt_ids"] + about["generated_ids"], about["positions"]
            if not all(0 <= position < len(token_ids) for position in positions):
                raise ValueError(f"positions must lie in 0…{len(token_ids) - 1}")
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is no capture: {type(error).__name__}: {error}") from error
        captures.append(Capture(path, about, token_ids, positions))
    return captures


def versions() -> dict[str, str]:
    """Of Python and of the libraries that numbers depend on, as far as they are installed."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def main(prog: str, description: str | None, open_reference: Opener) -> None:
    """Exits 0, or 1 with one line of error."""
    lifeline.die_with_parent()
    parser = argparse.ArgumentParser(prog=prog, description=description)
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="stack.json of the run")
    parser.add_argument("--captured", type=Path, required=True, metavar="DIR", help="what the server captured")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the reference goes")
    arguments = parser.parse_args()
    try:
        count = write(stack_file.load(arguments.config), arguments.captured, arguments.out, open_reference)
    except (ValueError, OSError) as error:
        status.fail(str(error))
    status.report("ready", num_prompts=count)


def write(stack: StackConfig, captured: Path, out: Path, open_reference: Opener) -> int:
    """Write the reference of every capture; returns how many. Raises ValueError for a file that is no capture."""

    def report(message: str, done: int, total: int) -> None:
        status.report("progress", message=message, done=done, total=total)

    captures = read_captures(captured)
    out = out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    work = Path(stack.run_dir).resolve() / "reference-work"
    work.mkdir(parents=True, exist_ok=True)
    sys.path.insert(0, str(Path.cwd()))
    os.chdir(work)  # MindSpore litters the working directory
    reference = open_reference(stack, captures, report)
    for done, capture in enumerate(captures):
        report("reference logits", done, len(captures))
        np.save(out / f"{capture.path.stem}.npy", reference.rows(capture.token_ids, capture.positions))
        (out / capture.path.name).write_text(json.dumps(capture.about) + "\n")
    manifest = {
        "method": reference.method,
        "model": stack.model.name,
        "device": stack.device.name,
        "vocab_size": reference.vocab_size,
        "num_prompts": len(captures),
        "versions": versions(),
        **reference.manifest,
    }
    (out / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    shutil.rmtree(work, ignore_errors=True)
    return len(captures)
