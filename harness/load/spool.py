"""The raw account of ended requests on disk, one frame each: what a load worker saw, before anything is parsed.

A frame = one JSON line (times and sizes of the reads), then the body bytes, then a line feed. Frames are appended with
one write each, so whatever a killed process had written can be read; a frame cut off at the end is left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import orjson


@dataclass(slots=True)
class Frame:
    """One ended request. Times are ns since the start of the timed window; read i brought sizes[i] bytes of `body`.

    ending: complete (the HTTP response ended), or how it was cut short: failed, timed_out, cancelled.
    """

    index: int
    ending: str
    scheduled_ns: int
    ended_ns: int
    sent_ns: int | None = None
    headers_ns: int | None = None
    attempts: int = 0
    error_class: str = ""
    error: str = ""
    http_status: int | None = None
    server_request_id: str = ""
    times_ns: list[int] = field(default_factory=list)
    lags_ns: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    def pieces(self, body: bytes) -> Iterator[tuple[int, bytes]]:
        """Body bytes by read, with the time each arrived."""
        position = 0
        for time_ns, size in zip(self.times_ns, self.sizes, strict=True):
            yield time_ns, body[position : position + size]
            position += size


class SpoolWriter:
    """Appends frames to a file; one system call per frame, no buffer of its own that a kill could lose."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def write(self, frame: Frame, pieces: list[bytes]) -> None:
        """Append one frame. Raises OSError, e.g. when the disk is full."""
        data = memoryview(b"".join([orjson.dumps(frame), b"\n", *pieces, b"\n"]))
        while data:
            data = data[os.write(self._fd, data) :]

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def read(path: Path) -> Iterator[tuple[Frame, bytes]]:
    """Yield (frame, body) in the order of writing, up to a frame that was cut off."""
    with path.open("rb") as file:
        while line := file.readline():
            try:
                frame = Frame(**orjson.loads(line))
            except orjson.JSONDecodeError:
                return
            size = sum(frame.sizes)
            body = file.read(size + 1)
            if len(body) != size + 1:
                return
            yield frame, body[:-1]
