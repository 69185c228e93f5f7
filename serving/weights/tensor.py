"""The one form: what every source of weights gives. It knows no files and no MindSpore."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

ALIGNMENT = 64  # bytes; what MindSpore's own allocator keeps, since its kernels read whole vectors

Array = NDArray[Any]  # float16 or float32


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """What is known of a tensor before it is read."""

    shape: tuple[int, ...]
    dtype: str  # as stored: float32, float16 or bfloat16, which NumPy lacks and float32 holds exactly


class Weights(Protocol):
    """Tensors by Hugging Face name, each read when it is asked for and kept by nobody.

    Rows of Q and K are in halves: row i of a head is rotated with row i + head_dim / 2.
    """

    label: str  # the file or folder, for messages

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """Every tensor there is, in the order in which reading is cheapest."""

    def read(self, name: str) -> Array:
        """One tensor, C-contiguous, float16 if it is stored so, else float32. Raises ModelError, KeyError."""


def empty(shape: tuple[int, ...], dtype: Any) -> Array:
    """An uninitialised array that starts at a multiple of 64 bytes."""
    num_bytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    room = np.empty(num_bytes + ALIGNMENT, np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    array: Array = room[start : start + num_bytes].view(dtype).reshape(shape)
    return array


def widen(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """bfloat16 values, given by their bits, as float32: the same sign, exponent and mantissa, then zeros."""
    wide = empty(bits.shape, np.uint32)
    wide[...] = bits
    wide <<= np.uint32(16)
    return wide.view(np.float32)


def cast(array: Array, dtype: Any) -> Array:
    """The array in another floating type, rounded to nearest. Raises OverflowError for a value beyond its range."""
    if array.dtype == dtype:
        return array
    result = empty(array.shape, dtype)
    try:
        with np.errstate(over="raise"):
            np.copyto(result, array, casting="unsafe")
    except FloatingPointError:
        raise OverflowError(f"values up to {np.abs(array).max():g} do not fit into {np.dtype(dtype)}") from None
    return result
