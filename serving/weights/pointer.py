"""`weights.json` of a model folder: where its weights are, when they are not in the folder itself.

So that a checkpoint of 13.5 GB is served from where it lies, and random weights need no disk at all.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from serving.config import ModelShape, RopeRows
from serving.weights import checkpoint_file, safetensors_file
from serving.weights.errors import ModelError
from serving.weights.seeded import SeededWeights
from serving.weights.stored import StoredWeights
from serving.weights.tensor import Weights

FILE_NAME = "weights.json"


@dataclass(frozen=True)
class WeightsPointer:
    """Either a path, or a seed."""

    path: str = ""  # .ckpt, .safetensors, or a folder of .safetensors
    rope_rows: str = RopeRows.auto.value
    seed: int | None = None

    def save(self, folder: Path) -> None:
        """Write it into a model folder that is being made."""
        (folder / FILE_NAME).write_text(json.dumps(asdict(self), indent=1) + "\n")


def open_weights(folder: Path, shape: ModelShape) -> Weights:
    """The weights of a model folder. Raises ModelError."""
    path = folder / FILE_NAME
    if not path.is_file():
        return open_files(folder, shape)
    told = WeightsPointer(**json.loads(path.read_text()))
    if told.seed is not None:
        return SeededWeights(shape, told.seed)
    return open_files(Path(told.path), shape, RopeRows(told.rope_rows))


def open_files(path: Path, shape: ModelShape, rope_rows: RopeRows = RopeRows.auto) -> StoredWeights:
    """Weights in a .ckpt, in a .safetensors, or in a folder of the latter. Raises ModelError."""
    if not path.exists():
        raise ModelError(f"model.path={path}: no such file or folder")
    is_checkpoint = path.is_file() and path.suffix == ".ckpt"
    stored = (checkpoint_file if is_checkpoint else safetensors_file).locate_tensors(path)
    interleaved = None if rope_rows is RopeRows.auto else rope_rows is RopeRows.interleaved
    return StoredWeights(str(path), stored, shape.num_heads, shape.num_kv_heads, interleaved)


def files(path: Path) -> list[Path]:
    """What holds the weights, for their hashes. Raises ModelError."""
    return [path] if path.is_file() else safetensors_file.shards(path)
