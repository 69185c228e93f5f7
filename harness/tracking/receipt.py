"""Where a run folder went: a small file beside its files, so that a repeated upload continues and doubles nothing."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson

from harness import whole_file
from harness.run_folder import RECEIPT


@dataclass
class Receipt:
    """What the store has of a run folder."""

    uri: str  # without password
    experiment: str
    experiment_id: str = ""
    run_ids: list[str] = field(default_factory=list)  # of the run, then of its children in order
    complete: bool = False


def read(run_dir: Path) -> Receipt | None:
    """The folder's receipt; None if nothing was ever sent, or if the file is unreadable and so vouches for nothing."""
    try:
        return Receipt(**orjson.loads((run_dir / RECEIPT).read_bytes()))
    except (OSError, orjson.JSONDecodeError, TypeError):
        return None


def write(run_dir: Path, receipt: Receipt) -> None:
    """Keep it, whole or not at all."""
    whole_file.write_json(run_dir / RECEIPT, asdict(receipt))
