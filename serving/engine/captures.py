"""Keeps the logits rows that requests asked for: one .npy and one .json per prompt id. Knows no scheduler.

Rows go to disk as they come, so memory stays flat; files get their names when the request is done, all at once, so that
what has a name is whole. All file work happens on one thread of its own, in order.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from numpy.lib import format as npy_format

from serving import whole_file
from serving.link.step import Float32

FOLDER = "captures"  # of a run
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")


def is_prompt_id(text: str) -> bool:
    """Whether the text can name a capture's files."""
    return _NAME.fullmatch(text) is not None


class CaptureFile:
    """The rows of one request. Methods but `add` and the lists run on the store's thread."""

    def __init__(self, folder: Path, prompt_id: str, prompt_ids: list[int]) -> None:
        self.prompt_id = prompt_id
        self.positions: list[int] = []
        self.batch_sizes: list[int] = []
        self.chosen_ids: list[int] = []  # what the model chose for each output token; teacher forcing may put others
        self._prompt_ids = prompt_ids
        self._folder = folder
        self._partial = folder / f".{prompt_id}.{os.getpid()}.npy.partial"
        self._file: BinaryIO | None = None
        self._shape = (0, 0)
        self._error: OSError | None = None

    def write_row(self, row: Float32) -> None:
        """Append one row; an error is kept for save()."""
        try:
            if self._file is None:
                self._file = self._partial.open("wb")
                _write_header(self._file, (0, len(row)))
            self._file.write(row.tobytes())
            self._shape = (self._shape[0] + 1, len(row))
        except OSError as error:
            self._error = self._error or error

    def save(self, generated_ids: list[int], positions: list[int], batch_sizes: list[int]) -> None:
        """Write the header and the .json, and give both their names. Raises OSError."""
        if self._error is not None:
            raise self._error
        if self._file is None:
            raise OSError("no row was captured")
        self._file.seek(0)
        _write_header(self._file, self._shape)
        self._file.close()
        about = {
            "prompt_id": self.prompt_id,
            "prompt_ids": self._prompt_ids,
            "generated_ids": generated_ids,
            "chosen_ids": self.chosen_ids,
            "positions": positions,
            "batch_sizes": batch_sizes,
        }
        with whole_file.writing(self._folder / f"{self.prompt_id}.json") as partial:
            partial.write_text(json.dumps(about) + "\n")
            self._partial.replace(self._folder / f"{self.prompt_id}.npy")

    def discard(self) -> None:
        """Leave nothing behind."""
        if self._file is not None:
            self._file.close()
            self._partial.unlink(missing_ok=True)


def _write_header(file: BinaryIO, shape: tuple[int, int]) -> None:
    """NumPy pads headers so that they are equally long whatever the number of rows: the first can be written over."""
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    npy_format.write_array_header_1_0(file, header)  # type: ignore[no-untyped-call]


class CaptureStore:
    """All captures of one front end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="captures")
        self._open: dict[str, CaptureFile] = {}
        self.num_rows = 0
        self.num_saved = 0

    @property
    def num_open(self) -> int:
        """Captures begun and not yet saved or discarded."""
        return len(self._open)

    def is_open(self, prompt_id: str) -> bool:
        """Whether a live request already captures under this name."""
        return prompt_id in self._open

    def begin(self, prompt_id: str, prompt_ids: list[int]) -> CaptureFile:
        """Start a capture. Raises OSError if the folder cannot be made."""
        self._folder.mkdir(parents=True, exist_ok=True)
        capture = CaptureFile(self._folder, prompt_id, prompt_ids)
        self._open[prompt_id] = capture
        return capture

    def add(self, capture: CaptureFile, position: int, batch_size: int, row: Float32) -> None:
        """Append one row [vocab_size] float32; the array must not change afterwards."""
        capture.positions.append(position)
        capture.batch_sizes.append(batch_size)
        self.num_rows += 1
        self._thread.submit(capture.write_row, row)

    def save(self, capture: CaptureFile, generated_ids: list[int], then: Callable[[Future[None]], object]) -> None:
        """Give the files their names, then call `then` on the capture thread."""
        future = self._thread.submit(capture.save, generated_ids, capture.positions, capture.batch_sizes)
        future.add_done_callback(then)

    def closed(self, capture: CaptureFile, saved: bool) -> None:
        """The capture is over; what was not saved is removed."""
        del self._open[capture.prompt_id]
        self.num_saved += saved
        if not saved:
            self._thread.submit(capture.discard)

    def stop(self) -> None:
        """Wait for what is being written."""
        self._thread.shutdown(wait=True)
