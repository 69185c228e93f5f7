"""Where compiled graphs are kept between runs.

MindSpore names cached graphs by the order in which a process compiles them and checks nothing but its own list of
source files: a folder shared by two configurations would run the wrong graph. So every list of graphs has a folder of
its own, named by all that goes into them, and a folder appears whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

_ABANDONED_AFTER_S = 24 * 3600.0
# Modules that say what is in a graph; the others of this room may change without one being compiled anew.
_SOURCES = (
    "cpu_kernels.py", "graph_shapes.py", "kernels/operators.py", "network.py", "plain.py", "runtime.py",
    "step_graph.py",
)  # fmt: skip


class GraphCache:
    """One folder of compiled graphs: `path` is given to MindSpore, `keep` is called once all are compiled."""

    def __init__(self, cache_dir: Path, contents: list[object]) -> None:
        self._folder = cache_dir / "graphs" / digest(contents)
        self.is_warm = self._folder.is_dir()
        if self.is_warm:
            self.path = self._folder
            return
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(self._folder.parent)
        self.path = Path(tempfile.mkdtemp(prefix=f".{self._folder.name}-", dir=self._folder.parent))

    def keep(self) -> None:
        """Give the folder its name. Another process may have been first; its graphs are as good."""
        if self.is_warm:
            return
        try:
            self.path.rename(self._folder)
        except OSError:
            if not self._folder.is_dir():
                raise
            shutil.rmtree(self.path, ignore_errors=True)


def digest(contents: list[object]) -> str:
    """A name for graphs made from these values by this code and these libraries."""
    hasher = hashlib.sha256(json.dumps(contents, sort_keys=True, default=str).encode())
    for name in _SOURCES:
        hasher.update((Path(__file__).parent / name).read_bytes())
    for package in ("mindspore", "mindformers"):
        hasher.update(version(package).encode())
    return hasher.hexdigest()[:16]


def _remove_abandoned(folder: Path) -> None:
    """Remove what killed processes left half-done, once no living one can still be at it."""
    for path in folder.glob(".*"):
        if time.time() - path.stat().st_mtime > _ABANDONED_AFTER_S:
            shutil.rmtree(path, ignore_errors=True)
