"""Reads the timed points of a finished run back from its folder. It computes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from harness import records
from harness.records import RecordsError, RequestRecord

RECORDS = "records.parquet"


class RunFilesError(ValueError):
    """A folder that holds no readable run; one line that names it."""


@dataclass
class RunFiles:
    """One timed point: its records, what they say of themselves, and the metrics of the run it belongs to."""

    folder: Path
    records: list[RequestRecord]
    about: dict[str, Any]  # schedule_hash, prompts_hash, …
    metrics: dict[str, Any]


def read_points(folder: Path) -> dict[str, RunFiles]:
    """Points by label: the folder's name for a single one, the subfolders' names for a sweep. Raises RunFilesError."""
    metrics = _metrics(folder / "metrics.json")
    single = folder / RECORDS
    found = [single] if single.exists() else sorted(folder.glob(f"*/{RECORDS}"))
    if not found:
        raise RunFilesError(f"{folder}: holds no {RECORDS}, so there is no timed run to read")
    points: dict[str, RunFiles] = {}
    for path in found:
        try:
            rows, about = records.read(path)
        except RecordsError as error:
            raise RunFilesError(str(error)) from None
        points[path.parent.name] = RunFiles(path.parent, rows, about, metrics)
    return points


def _metrics(path: Path) -> dict[str, Any]:
    try:
        value = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, orjson.JSONDecodeError) as error:
        raise RunFilesError(f"{path}: cannot be read ({error})") from None
    if not isinstance(value, dict):
        raise RunFilesError(f"{path}: must hold a JSON object")
    return value
