"""The resolved stack configuration as one JSON file, written by the supervisor and read by its children.

The file stays in the run folder and is sent to trackers: an API key is not in it, but in the environment of children.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import cast

from omegaconf import OmegaConf

from serving import whole_file
from serving.config import StackConfig

FILE_NAME = "stack.json"
KEY_VARIABLE = "PLUMBLINE_API_KEY"  # in a child's environment
_HIDDEN = "***"


def save(stack: StackConfig, folder: Path) -> Path:
    """Write `folder`/stack.json whole or not at all and return its path."""
    path = folder / FILE_NAME
    content = asdict(stack)
    if stack.serving.http.api_key:
        content["serving"]["http"]["api_key"] = _HIDDEN
    whole_file.write_json(path, content)
    return path


def load(path: Path) -> StackConfig:
    """Read a stack.json, with types checked. Raises OmegaConf's ConfigKeyError or ValidationError on a bad file, and
    KeyError if it has a key that the environment has not.
    """
    merged = OmegaConf.merge(OmegaConf.structured(StackConfig), json.loads(path.read_text()))
    stack = cast(StackConfig, OmegaConf.to_object(merged))
    if stack.serving.http.api_key == _HIDDEN:
        stack.serving.http.api_key = os.environ[KEY_VARIABLE]
    return stack
