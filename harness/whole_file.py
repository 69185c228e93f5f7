"""Files that appear whole or not at all: written under a hidden name beside the place, then renamed.

A reader sees the old file or the new one, also when the writer is killed. After a power cut nothing is promised: no
fsync, which would cost time for files that a new run replaces.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """The hidden path to write to. It becomes `path` when the block ends, and is removed if the block fails."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write the file. Raises OSError."""
    with writing(path) as partial:
        partial.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write the file as UTF-8. Raises OSError."""
    write_bytes(path, text.encode())


def write_json(path: Path, content: Any) -> None:
    """Write the file indented, for people. Raises OSError."""
    write_bytes(path, orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
