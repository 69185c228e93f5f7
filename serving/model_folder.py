"""Where the model that a run serves lies, told by `serving.model.prepare` to the processes that start after it."""

from __future__ import annotations

import json
from pathlib import Path

from serving.config import StackConfig

FILE_NAME = "model.json"


def announce(stack: StackConfig, folder: Path) -> None:
    """Tell the run's other processes which folder to load, whole or not at all."""
    path = Path(stack.run_dir) / FILE_NAME
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps({"folder": str(folder)}) + "\n")
    partial.replace(path)


def locate(stack: StackConfig) -> Path:
    """The model folder of this run. Raises FileNotFoundError if the model was not prepared."""
    path = Path(stack.run_dir) / FILE_NAME
    if not path.exists():
        raise FileNotFoundError(f"{path}: the model was not prepared (python -m serving.model.prepare --config …)")
    return Path(json.loads(path.read_text())["folder"])
