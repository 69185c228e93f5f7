"""The resolved stack configuration as one JSON file, written by the supervisor and read by its children."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import cast

from omegaconf import OmegaConf

from serving.config import StackConfig

FILE_NAME = "stack.json"


def save(stack: StackConfig, folder: Path) -> Path:
    """Write `folder`/stack.json whole or not at all and return its path."""
    path = folder / FILE_NAME
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(stack), indent=1) + "\n")
    partial.replace(path)
    return path


def load(path: Path) -> StackConfig:
    """Read a stack.json, with types checked. Raises OmegaConf's ConfigKeyError or ValidationError on a bad file."""
    merged = OmegaConf.merge(OmegaConf.structured(StackConfig), json.loads(path.read_text()))
    return cast(StackConfig, OmegaConf.to_object(merged))
