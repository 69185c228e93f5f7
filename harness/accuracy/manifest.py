"""manifest.json of a folder of logits: what made the rows. It knows no rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from harness import whole_file
from harness.accuracy.errors import UnusableInput
from harness.run_folder import MANIFEST

SAME = {"weights_sha256": "weights", "tokenizer_sha256": "tokenizer"}  # without these equal, no rows can agree


def read_manifest(folder: Path) -> dict[str, Any]:
    """The folder's manifest, {} if it has none. Raises UnusableInput for one that cannot be read."""
    path = folder / MANIFEST
    try:
        content = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, orjson.JSONDecodeError) as error:
        raise UnusableInput(path, f"cannot be read as JSON ({error})") from error
    if not isinstance(content, dict):
        raise UnusableInput(path, "must hold a JSON object")
    return content


def add_to_manifest(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write the folder's manifest, or add to it; whole or not at all."""
    whole_file.write_json(folder / MANIFEST, {**read_manifest(folder), **facts})


def unlike(base: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Why two folders cannot be expected to agree, in words; what one of them does not tell is not held against it."""
    return [
        f"the {what} differ: the base has {base[key]}, this run served {new[key]}"
        for key, what in SAME.items()
        if base.get(key) and new.get(key) and base[key] != new[key]
    ]
