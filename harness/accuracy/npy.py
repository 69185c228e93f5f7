"""Rows of a .npy file, read a few at a time so that memory stays bounded. It knows no logits."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from harness.accuracy.errors import UnusableInput


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
        with path.open("rb") as file:
            version = npy_format.read_magic(file)  # type: ignore[no-untyped-call]
            read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
            shape, fortran_order, dtype = read(file)  # type: ignore[no-untyped-call]
            offset, size = file.tell(), os.fstat(file.fileno()).st_size
    except OSError as error:
        raise UnusableInput(path, f"cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise UnusableInput(path, f"is no .npy file ({error})") from error
    if dtype.hasobject:
        raise UnusableInput(path, "holds pickled objects, not an array of numbers")
    if fortran_order and len(shape) > 1:
        raise UnusableInput(path, "is stored column by column; save it in C order")
    needed = offset + dtype.itemsize * int(np.prod(shape, dtype=np.int64))
    if size < needed:
        raise UnusableInput(path, f"is cut short: {size} bytes, its header promises {needed}")
    return NpyFile(path, shape, dtype, offset)
