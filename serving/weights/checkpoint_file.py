"""Where the tensors of a MindSpore `.ckpt` lie, without reading them.

The format, as mindspore/train/serialization.py of 2.9.0 writes it: protobuf `Checkpoint{value{tag, tensor{dims,
tensor_type, tensor_content}}}`, one message after the other, which on the wire is one message with more values. A
tensor of more than 512 MiB is cut into values of the same tag, one after the other, each with the dims of the whole.
With crc_check, `crc_num` and ten bytes follow at the end; they are passed over, the manifest's sha256 says more.
Protobuf's own parser would hold the whole file in memory. Encrypted files are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path

from serving.weights.errors import ModelError
from serving.weights.stored import Piece, Stored
from serving.weights.tensor import TensorInfo

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5  # wire types
_CHECKPOINT_VALUE = 1
_VALUE_TAG, _VALUE_TENSOR = 1, 2
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_CONTENT = 1, 2, 3
_TYPES = {"Float32": ("float32", 4), "Float16": ("float16", 2), "BFloat16": ("bfloat16", 2)}
_CRC_BYTES = 17


class _Malformed(ValueError):
    """The bytes are no such message."""


@dataclass
class _Value:
    """One value of a checkpoint, its content only located."""

    tag: str = ""
    dims: list[int] = field(default_factory=list)
    kind: str = ""
    offset: int = 0
    num_bytes: int = 0
    is_tensor: bool = False


def locate_tensors(path: Path) -> dict[str, Stored]:
    """The file's own names and where each tensor lies, in the file's order; a trainer's counters are left out.

    Raises ModelError for a file that is no checkpoint, is cut off, encrypted, or has tensors of another type.
    """
    try:
        with path.open("rb") as file:
            end = path.stat().st_size
            if end > _CRC_BYTES:
                file.seek(end - _CRC_BYTES)
                if file.read(7) == b"crc_num":
                    end -= _CRC_BYTES
            values = list(_values(file, end))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    except (_Malformed, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: no MindSpore checkpoint, or one that is cut off or encrypted ({error})") from None
    if not values:
        raise ModelError(f"{path}: a checkpoint without tensors")
    return _joined(path, values)


def _joined(path: Path, values: list[_Value]) -> dict[str, Stored]:
    """Neighbouring values of the same tag are slices of one tensor."""
    slices: dict[str, list[_Value]] = {}
    previous = ""
    for value in values:
        if value.tag in slices and value.tag != previous:
            raise ModelError(f"{path}: tensor {value.tag} is there twice")
        slices.setdefault(value.tag, []).append(value)
        previous = value.tag
    return {tag: _stored(path, parts) for tag, parts in slices.items() if not _is_counter(parts[0])}


def _is_counter(value: _Value) -> bool:
    """What trainers add: epoch, step, learning rate, texts. No weight of a Llama is a scalar."""
    return value.is_tensor and (value.kind == "str" or value.dims in ([], [0]))


def _stored(path: Path, parts: list[_Value]) -> Stored:
    first = parts[0]
    if not first.is_tensor or first.kind not in _TYPES:
        what = f"type {first.kind}" if first.is_tensor else "a map, no tensor"
        raise ModelError(f"{path}: {first.tag} has {what}; allowed: {', '.join(_TYPES)}")
    dtype, size = _TYPES[first.kind]
    expected, found = size, sum(part.num_bytes for part in parts)
    for dim in first.dims:
        expected *= dim
    if found != expected or any((part.dims, part.kind) != (first.dims, first.kind) for part in parts):
        raise ModelError(f"{path}: {first.tag} of shape {tuple(first.dims)} has {found} bytes, expected {expected}")
    pieces = tuple(Piece(path, part.offset, part.num_bytes) for part in parts)
    return Stored(TensorInfo(tuple(first.dims), dtype), pieces)


def _values(file: BufferedReader, end: int) -> Iterator[_Value]:
    for number, start, stop in _fields(file, 0, end):
        if number != _CHECKPOINT_VALUE:
            raise _Malformed(f"field {number} at byte {start}")
        value = _Value()
        for inner, inner_start, inner_stop in _fields(file, start, stop):
            if inner == _VALUE_TAG:
                value.tag = _bytes(file, inner_start, inner_stop).decode()
            elif inner == _VALUE_TENSOR:
                value.is_tensor = True
                _read_tensor(file, inner_start, inner_stop, value)
        yield value


def _read_tensor(file: BufferedReader, start: int, stop: int, value: _Value) -> None:
    for number, inner_start, inner_stop in _fields(file, start, stop):
        if number == _TENSOR_DIMS:
            file.seek(inner_start)
            while file.tell() < inner_stop:  # one number, or several packed
                value.dims.append(_varint(file))
        elif number == _TENSOR_TYPE:
            value.kind = _bytes(file, inner_start, inner_stop).decode()
        elif number == _TENSOR_CONTENT:
            value.offset, value.num_bytes = inner_start, inner_stop - inner_start


def _fields(file: BufferedReader, position: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(field number, start, stop of its payload) of one message; the payload need not be read."""
    while position < end:
        file.seek(position)
        key = _varint(file)
        start = file.tell()
        kind = key & 7
        if kind == _LENGTH:
            length = _varint(file)
            start = file.tell()
        elif kind == _VARINT:
            _varint(file)
            length = file.tell() - start
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise _Malformed(f"wire type {kind} at byte {position}")
        if start + length > end:
            raise _Malformed(f"{start + length - end} bytes are missing after byte {position}")
        yield key >> 3, start, start + length
        position = start + length


def _bytes(file: BufferedReader, start: int, stop: int) -> bytes:
    if stop - start > 4096:
        raise _Malformed(f"a name of {stop - start} bytes at byte {start}")
    file.seek(start)
    return file.read(stop - start)


def _varint(file: BufferedReader) -> int:
    """Base 128, least significant group first, at most ten bytes."""
    result = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise _Malformed("the file ends within a number")
        result |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return result
    raise _Malformed(f"no number at byte {file.tell() - 10}")
