"""safetensors: where tensors lie in a file or in the shards of a folder, and writing a file tensor by tensor.

The package opens and checks files; reading goes around it, since its NumPy side has no bfloat16, and writing too, since
its NumPy side holds all tensors at once. Format: https://huggingface.co/docs/safetensors (eight bytes with the length
of a JSON header, the header, the data; offsets count from the data's start).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from serving.weights.errors import ModelError
from serving.weights.stored import Piece, Stored
from serving.weights.tensor import ALIGNMENT, Array, TensorInfo

INDEX = "model.safetensors.index.json"
_TYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_NAMES = {name: code for code, name in _TYPES.items()}
_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


def locate_tensors(path: Path) -> dict[str, Stored]:
    """The own names and places of every tensor of a file, or of a folder's shards. Raises ModelError."""
    if path.is_file():
        return _in_file(path)
    stored: dict[str, Stored] = {}
    for shard in shards(path):
        for name, tensor in _in_file(shard).items():
            if name in stored:
                first = stored[name].pieces[0].path.name
                raise ModelError(f"{path}: tensor {name} is both in {first} and {shard.name}")
            stored[name] = tensor
    missing = sorted(_indexed(path).keys() - stored.keys())
    if missing:
        raise ModelError(f"{path}: {INDEX} names tensor {missing[0]}, which no file has")
    return stored


def shards(folder: Path) -> list[Path]:
    """The files of a folder: those that its index names, else all. Raises ModelError for a shard that is not there."""
    names = sorted(set(_indexed(folder).values())) or sorted(path.name for path in folder.glob("*.safetensors"))
    absent = [name for name in names if not (folder / name).is_file()]
    if absent:
        raise ModelError(f"{folder}: {INDEX} names {absent[0]}, which is not there")
    if not names:
        raise ModelError(f"{folder}: has no *.safetensors")
    return [folder / name for name in names]


def write(path: Path, infos: Mapping[str, TensorInfo], tensors: Iterable[tuple[str, Array]]) -> None:
    """A file of float16 and float32 tensors, which come one at a time, in the order of `infos`.

    Raises ValueError if a tensor is not as announced: by then the file is half written.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "np"}}
    offset = 0
    for name, info in infos.items():
        num_bytes = int(np.prod(info.shape)) * _BYTES[info.dtype]
        header[name] = {
            "dtype": _NAMES[info.dtype],
            "shape": info.shape,
            "data_offsets": [offset, offset + num_bytes],
        }
        offset += num_bytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)  # so that most tensors can be used where they lie in the file
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for (name, info), (given_name, tensor) in zip(infos.items(), tensors, strict=True):
            if (given_name, tensor.shape, str(tensor.dtype)) != (name, info.shape, info.dtype):
                raise ValueError(f"{given_name} {tensor.shape} {tensor.dtype} where {name} {info} was announced")
            file.write(np.ascontiguousarray(tensor).data)


def _in_file(path: Path) -> dict[str, Stored]:
    try:
        with safe_open(str(path), framework="np"), path.open("rb") as file:  # which checks header and offsets
            (num_bytes,) = struct.unpack("<Q", file.read(8))
            header: dict[str, Any] = json.loads(file.read(num_bytes))
    except (SafetensorError, OSError, ValueError, struct.error) as error:
        raise ModelError(f"{path}: no readable safetensors file ({str(error).splitlines()[0]})") from None
    stored = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if entry["dtype"] not in _TYPES:
            raise ModelError(f"{path}: {name} has type {entry['dtype']}; allowed: {', '.join(_TYPES)}")
        start, stop = entry["data_offsets"]
        piece = Piece(path, 8 + num_bytes + start, stop - start)
        stored[name] = Stored(TensorInfo(tuple(entry["shape"]), _TYPES[entry["dtype"]]), (piece,))
    return dict(sorted(stored.items(), key=lambda item: item[1].pieces[0].offset))


def _indexed(folder: Path) -> dict[str, str]:
    """Tensor to file, as the folder's index says; {} without one."""
    path = folder / INDEX
    if not path.is_file():
        return {}
    try:
        found: dict[str, str] = json.loads(path.read_text())["weight_map"]
    except (ValueError, KeyError) as error:
        raise ModelError(f"{path}: no readable index ({error!r})") from None
    return found
