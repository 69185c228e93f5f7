"""Rows of a .npy file, read a few at a time so that memory stays bounded. It knows no logits."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from harness.accuracy.errors import UnusableInput

HEADER_BYTES = 4096  # enough for every header but one of a structured array: 8 bytes, its length in 2 or 4, its text


@dataclass(frozen=True, slots=True)
class NpyFile:
    """A .npy file whose header has been read and whose size has been checked against it."""

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int  # bytes before the first element

    def read_rows(self, fd: int, start: int, out: NDArray[Any]) -> None:
        """Fill `out` [rows, …] from row `start` on, fd being the open file. Raises UnusableInput if it ends before.

        Reading into memory that is used again costs less than mapping the file, whose pages are then faulted in one by
        one, and a file cut short under our eyes is an error, not a signal.
        """
        row_bytes = out.nbytes // max(1, len(out))
        target = out.data.cast("B") if out.nbytes else memoryview(b"")
        done = 0
        while done < len(target):
            num_bytes = os.preadv(fd, [target[done:]], self.offset + start * row_bytes + done)
            if num_bytes == 0:
                raise UnusableInput(self.path, "was cut short while it was read")
            done += num_bytes


def read_header(path: Path) -> NpyFile:
    """Read and check the header of a .npy file. Raises UnusableInput if it is not one, is cut short, or holds objects.

    Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
    """
    try:
        fd = os.open(path, os.O_RDONLY)
        try:
            header, size = os.pread(fd, HEADER_BYTES, 0), os.fstat(fd).st_size
        finally:
            os.close(fd)
    except OSError as error:
        raise UnusableInput(path, f"cannot be read ({error.strerror})") from error
    if header[6:7] == b"\x01":
        length = 10 + int.from_bytes(header[8:10], "little")
    else:
        length = 12 + int.from_bytes(header[8:12], "little")
    try:
        shape, fortran_order, dtype = _parse(header[:length])
    except ValueError as error:
        raise UnusableInput(path, f"is no .npy file ({error})") from error
    if dtype.hasobject:
        raise UnusableInput(path, "holds pickled objects, not an array of numbers")
    if fortran_order and len(shape) > 1:
        raise UnusableInput(path, "is stored column by column; save it in C order")
    needed = length + dtype.itemsize * int(np.prod(shape, dtype=np.int64))
    if size < needed:
        raise UnusableInput(path, f"is cut short: {size} bytes, its header promises {needed}")
    return NpyFile(path, shape, dtype, length)


@lru_cache(
    maxsize=256
)  # the files of one folder share a few headers, and parsing one takes longer than comparing a row
def _parse(header: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    stream = io.BytesIO(header)
    version = npy_format.read_magic(stream)  # type: ignore[no-untyped-call]
    read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
    shape, fortran_order, dtype = read(stream)  # type: ignore[no-untyped-call]
    return shape, fortran_order, dtype
