"""python -m serving.agent.arithmetic_reference: the arithmetic model's logits in closed form, without any paging.

For every DIR/<prompt_id>.json it writes OUT/<prompt_id>.npy (float32 [positions, vocabulary]), OUT/<prompt_id>.json and
OUT/manifest.json, as serving.model.reference does for a real model.
"""

from __future__ import annotations

import argparse
import json
from itertools import accumulate
from pathlib import Path

import numpy as np

from serving import lifeline, stack_file, status
from serving.agent.arithmetic import VOCAB_SIZE, logits_rows
from serving.link.step import Float32


def reference_rows(token_ids: list[int], positions: list[int]) -> Float32:
    """Logits after the token at each of `positions`, [len(positions), VOCAB_SIZE]."""
    sums = list(accumulate((index + 1) * token for index, token in enumerate(token_ids)))
    return logits_rows(np.array([sums[position] for position in positions], np.int64))


def main() -> None:
    """Exits 0, or 1 with one line of error."""
    lifeline.die_with_parent()
    parser = argparse.ArgumentParser(prog="python -m serving.agent.arithmetic_reference")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="stack.json of the run")
    parser.add_argument("--captured", type=Path, required=True, metavar="DIR", help="what the server captured")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the reference goes")
    arguments = parser.parse_args()
    stack = stack_file.load(arguments.config)
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    captured = sorted(arguments.captured.glob("*.json"))
    for done, path in enumerate(captured):
        status.report("progress", message="reference logits", done=done, total=len(captured))
        try:
            about = json.loads(path.read_text())
            rows = reference_rows(about["prompt_ids"] + about["generated_ids"], about["positions"])
        except (ValueError, KeyError, TypeError, IndexError) as error:
            status.fail(f"{path} is no capture: {type(error).__name__}: {error}")
        np.save(out / f"{path.stem}.npy", rows)
        (out / path.name).write_text(json.dumps(about) + "\n")
    manifest = {
        "method": "arithmetic model in closed form, no paging, batch 1",
        "model": stack.model.name,
        "dtype": "float32",
        "vocab_size": VOCAB_SIZE,
        "num_prompts": len(captured),
    }
    (out / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    status.report("ready", num_prompts=len(captured))


if __name__ == "__main__":
    main()
