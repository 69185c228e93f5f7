"""Files that appear whole or not at all: written under a hidden name beside the place, then renamed.

As harness/whole_file.py, which this side may not import. Several processes may write the same file: the last wins.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """The hidden path to write to. It becomes `path` when the block ends, and is removed if the block fails."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write the file as UTF-8. Raises OSError."""
    with writing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, content: object) -> None:
    """Write the file indented, for people. Raises OSError."""
    write_text(path, json.dumps(content, indent=1) + "\n")
