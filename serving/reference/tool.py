"""The command line that every reference shares: read what a server captured, write the rows another path computes.

For every DIR/<prompt_id>.json it writes OUT/<prompt_id>.npy (float32 [positions, vocabulary]) and OUT/<prompt_id>.json,
the capture's with the reference's own `chosen_ids`; last, OUT/manifest.json. It knows no model: it is given a function
from token ids and positions to rows.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from serving import whole_file
from serving.config import StackConfig
from serving.link.step import Float32
from serving.processes import parent_watch, stack_file, status
from serving.weights.folder import MANIFEST
from serving.weights.identity import identity


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
    for path in sorted(path for path in folder.glob("*.json") if path.name != MANIFEST):
        try:
            about = json.loads(path.read_text())
            token_ids, positions = about["prompt_ids"] + about["generated_ids"], about["positions"]
            if not all(0 <= position < len(token_ids) for position in positions):
                raise ValueError(f"positions must lie in 0…{len(token_ids) - 1}")
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is no capture: {type(error).__name__}: {error}") from error
        captures.append(Capture(path, about, token_ids, positions))
    return captures


def main(prog: str, description: str | None, open_reference: Opener) -> None:
    """Exits 0, or 1 with one line of error."""
    parent_watch.die_with_parent()
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
        rows, chosen_ids = answer(reference, capture)
        with whole_file.writing(out / f"{capture.path.stem}.npy") as partial, partial.open("wb") as file:
            np.save(file, rows)
        whole_file.write_text(out / capture.path.name, json.dumps({**capture.about, "chosen_ids": chosen_ids}) + "\n")
    manifest = {
        "method": reference.method,
        **identity(stack),
        "vocab_size": reference.vocab_size,
        "num_prompts": len(captures),
        **reference.manifest,
    }
    whole_file.write_json(out / MANIFEST, manifest)
    shutil.rmtree(work, ignore_errors=True)
    return len(captures)


def answer(reference: Reference, capture: Capture) -> tuple[Float32, list[int]]:
    """The rows asked for, and the reference's own greedy token after every token from the last of the prompt on.

    As long as those equal the served tokens, the reference would have written the same text on its own.
    """
    num_prompt = len(capture.about["prompt_ids"])
    deciding = range(num_prompt - 1, len(capture.token_ids) - 1)
    wanted = sorted({*capture.positions, *deciding})
    rows = reference.rows(capture.token_ids, wanted)
    index = {position: row for row, position in enumerate(wanted)}
    chosen_ids = rows[[index[position] for position in deciding]].argmax(axis=1)
    return rows[[index[position] for position in capture.positions]], chosen_ids.tolist()
