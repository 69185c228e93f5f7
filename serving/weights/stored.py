"""Tensors that lie uncompressed in files: where they are, and reading one without the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from serving.weights.errors import ModelError
from serving.weights.names import hugging_face_name, is_derived, is_interleaved, is_rotated, to_halves
from serving.weights.tensor import ALIGNMENT, Array, TensorInfo, empty, widen

_STORED = {"float32": np.float32, "float16": np.float16, "bfloat16": np.uint16}


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a file."""

    path: Path
    offset: int
    num_bytes: int


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor's place; its bytes are those of the pieces one after the other, little-endian, C order."""

    info: TensorInfo
    pieces: tuple[Piece, ...]

    def read(self) -> Array:
        """A view of the mapped file if it lies there as it is wanted, else a fresh array; bfloat16 as float32.

        What is mapped takes memory only where it is touched, and shares it with other processes; writing to it changes
        no file. Raises OSError, EOFError if the file has become shorter.
        """
        if self.info.dtype != "bfloat16" and len(self.pieces) == 1 and self.pieces[0].offset % ALIGNMENT == 0:
            return self._mapped(self.pieces[0])
        array = empty(self.info.shape, _STORED[self.info.dtype])
        room = array.reshape(-1).view(np.uint8).data
        for piece in self.pieces:
            with piece.path.open("rb") as file:  # buffered: it reads until the room is full or the file ends
                file.seek(piece.offset)
                if file.readinto(room[: piece.num_bytes]) < piece.num_bytes:
                    raise EOFError("the file ends too early")
            room = room[piece.num_bytes :]
        return widen(array) if self.info.dtype == "bfloat16" else array

    def _mapped(self, piece: Piece) -> Array:
        if piece.path.stat().st_size < piece.offset + piece.num_bytes:
            raise EOFError("the file ends too early")
        array: Array = np.memmap(piece.path, _STORED[self.info.dtype], "c", piece.offset, self.info.shape)
        return array.view(np.ndarray)


class StoredWeights:
    """serving.weights.tensor.Weights over files that store tensors as they are."""

    def __init__(
        self,
        label: str,
        stored: Mapping[str, Stored],
        num_heads: int,
        num_kv_heads: int,
        interleaved: bool | None = None,
    ) -> None:
        """`stored` has the file's own names; `interleaved` None = as the convention of those names has it.

        Raises ModelError for tensors that no Llama has, or that are there under two names.
        """
        self.label = label
        self._heads = {"q_proj.weight": num_heads, "k_proj.weight": num_kv_heads}
        self._interleaved = is_interleaved(stored) if interleaved is None else interleaved
        self._stored: dict[str, Stored] = {}
        foreign = []
        for own_name, tensor in stored.items():
            if is_derived(own_name):
                continue
            name = hugging_face_name(own_name)
            if name is None:
                foreign.append(own_name)
            elif name in self._stored:
                raise ModelError(f"{label}: tensor {name} is there twice, the second time as {own_name}")
            else:
                self._stored[name] = tensor
        if foreign:
            more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
            raise ModelError(f"{label}: unexpected tensor {', '.join(foreign[:3])}{more}: no part of a Llama")

    @property
    def tensors(self) -> dict[str, TensorInfo]:
        """Every tensor by Hugging Face name, in the order of the file."""
        return {name: stored.info for name, stored in self._stored.items()}

    def read(self, name: str) -> Array:
        """One tensor, rows of Q and K in halves. Raises ModelError if the file cannot be read."""
        try:
            array = self._stored[name].read()
        except (OSError, EOFError) as error:
            raise ModelError(f"{self.label}: cannot read {name} ({error})") from error
        if self._interleaved and is_rotated(name):
            heads = next(heads for ending, heads in self._heads.items() if name.endswith(ending))
            halves = empty(array.shape, array.dtype)
            view = to_halves(array, heads)
            halves.reshape(view.shape)[...] = view
            return halves
        return array
