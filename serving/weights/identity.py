"""Which weights, tokenizer, precision and libraries numbers come from. It loads no model and knows no requests."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from serving.config import StackConfig, WeightSource
from serving.tokenizer.tokenizer import tokenizer_file
from serving.weights import hashes
from serving.weights.folder import MANIFEST
from serving.weights.served_folder import locate

_PACKAGES = ("mindspore", "mindformers", "numpy")
_NOT_MEASURED = ("run_dir", "cache_dir")


def identity(stack: StackConfig) -> dict[str, Any]:
    """Facts for a manifest: model, its hashes, dtype, device, digest of the stack's configuration, versions.

    Two sets of logits can be expected to agree only if their `weights_sha256` and `tokenizer_sha256` do. Raises
    FileNotFoundError if the model was not prepared, OSError if it cannot be read.
    """
    return {
        "model": stack.model.name,
        "source": stack.model.source.value,
        **_hashes(stack),
        "dtype": stack.device.dtype,
        "device": stack.device.name,
        "target": stack.device.target,
        "stack_digest": stack_digest(stack),
        "versions": versions(),
    }


def stack_digest(stack: StackConfig) -> str:
    """sha256 of all that configures the serving processes, apart from where files go."""
    settings = {key: value for key, value in asdict(stack).items() if key not in _NOT_MEASURED}
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def versions() -> dict[str, str]:
    """Of Python and of the libraries that numbers depend on, as far as they are installed."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _hashes(stack: StackConfig) -> dict[str, str]:
    if stack.model.source is WeightSource.none:
        return {"weights_sha256": "none", "tokenizer_sha256": "bytes"}
    folder, cache = locate(stack), Path(stack.cache_dir) / hashes.FOLDER
    path = folder / MANIFEST
    told = json.loads(path.read_text()) if path.is_file() else {}
    weights = sorted(folder.glob("*.safetensors"))
    tokenizer = tokenizer_file(Path(stack.model.tokenizer or folder))
    return {
        "weights": told.get("weights", "as in the file"),
        "weights_sha256": told.get("weights_sha256") or _sha256_of(weights, cache),
        "tokenizer_sha256": _sha256_of([tokenizer], cache) if tokenizer else "unknown",
    }


def _sha256_of(paths: list[Path], cache: Path) -> str:
    """Hex sha256 of one file, or of the hashes of several; files that have not changed are not read again."""
    return hashes.joint_sha256([hashes.remembered_sha256(path, cache) for path in paths])
