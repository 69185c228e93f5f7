"""One row of logits out of a file of the contest, which may be a pickle. No pickle runs code here."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from harness.accuracy.errors import UnusableInput


def load_row(path: Path, allow_pickle: bool) -> NDArray[np.float32]:
    """One legacy file's logits, float32 [vocab]. Pickles may hold arrays of numbers and nothing else."""
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        if not allow_pickle:
            raise UnusableInput(path, "is no plain array; if it is a pickled one, allow pickles") from error
        array = _load_pickled(path)
    except OSError as error:
        raise UnusableInput(path, f"cannot be read ({error})") from error
    if not isinstance(array, np.ndarray):
        raise UnusableInput(path, "is an archive, not an array")
    try:
        row = np.asarray(array.tolist() if array.dtype.hasobject else array, np.float32)
    except (TypeError, ValueError) as error:
        raise UnusableInput(path, "holds something else than numbers") from error
    if row.ndim == 0 or row.size == 0 or row.size != row.shape[-1]:
        raise UnusableInput(path, f"has shape {list(row.shape)}, expected one row of logits")
    return row.reshape(-1)


class _ArrayUnpickler(pickle.Unpickler):
    """Builds NumPy arrays; refuses every other class, so that a pickle cannot run code."""

    ALLOWED = frozenset(
        {(f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")}
        | {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it wants {module}.{name}, which is no array")
        return super().find_class(module.replace("numpy._core", "numpy.core"), name)


def _load_pickled(path: Path) -> NDArray[Any]:
    stream = io.BytesIO(path.read_bytes())
    try:
        if stream.getbuffer()[:6] == npy_format.MAGIC_PREFIX:
            npy_format.read_magic(stream)  # type: ignore[no-untyped-call]
            npy_format.read_array_header_1_0(stream)  # type: ignore[no-untyped-call]
        array = _ArrayUnpickler(stream).load()
    except Exception as error:  # a foreign file can fail in any way
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnusableInput(path, f"is no pickled array ({reason})") from error
    if not isinstance(array, np.ndarray):
        raise UnusableInput(path, f"holds a pickled {type(array).__name__}, not an array")
    return array
