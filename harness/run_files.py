"""Reads the timed points of a finished run back from its folder. It computes nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from harness import records
from harness.records import RecordsError, RequestRecord

RECORDS = "records.parquet"
METRICS = "metrics.json"
CONFIG = "config.yaml"
SCHEDULE = "schedule.json"


class RunFilesError(ValueError):
    """A folder that holds no readable run; one line that names it."""


@dataclass
class RunFiles:
    """One timed point: its records, what they say of themselves, and the metrics of the run it belongs to."""

    folder: Path
    records: list[RequestRecord]
    about: dict[str, Any]  # schedule_hash, prompts_hash, …
    metrics: dict[str, Any]
    damaged: list[str] = field(default_factory=list)  # files beside them that can no longer vouch for them, and why


def read_points(folder: Path) -> dict[str, RunFiles]:
    """Points by label: the folder's name for a single one, the subfolders' names for a sweep.

    Raises RunFilesError for a folder without records or verdict; a folder of several runs is such a one.
    """
    single = folder / RECORDS
    found = [single] if single.exists() else sorted(folder.glob(f"*/{RECORDS}"))
    if not found:
        raise RunFilesError(f"{folder}: holds no {RECORDS}, so there is no timed run to read")
    whole = folder / METRICS
    runs = [path.parent for path in found if path.parent != folder and (path.parent / CONFIG).exists()]
    if runs and not whole.exists():
        raise RunFilesError(f"{folder}: is a folder of runs; name one of them, such as {runs[-1]}")
    points: dict[str, RunFiles] = {}
    for path in found:
        try:
            rows, about = records.read(path)
        except RecordsError as error:
            raise RunFilesError(str(error)) from None
        # MLflow keeps of a point, a child run there, only the point's own files.
        metrics = _metrics(whole if whole.exists() else path.parent / METRICS)
        points[path.parent.name] = RunFiles(path.parent, rows, about, metrics, _damaged(path.parent, folder, about))
    return points


def _metrics(path: Path) -> dict[str, Any]:
    """The figures and the verdict of a run or a point."""
    try:
        value = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        raise RunFilesError(f"{path}: no such file, so whether the run was complete and accurate is unknown") from None
    except (OSError, orjson.JSONDecodeError) as error:
        raise RunFilesError(f"{path}: cannot be read ({error})") from None
    if not isinstance(value, dict) or "accuracy_status" not in value:
        raise RunFilesError(f"{path}: must hold the figures and the verdict of a run (accuracy_status)")
    return value


def _damaged(folder: Path, run: Path, about: dict[str, Any]) -> list[str]:
    """What is amiss with the files that a comparison can do without: the hashes of the work are in the records."""
    configs = [path for path in (folder / CONFIG, run / CONFIG, folder.parent / CONFIG) if path.exists()]
    config = configs[0] if configs else run / CONFIG
    found = []
    if not (run / METRICS).exists():
        found.append(f"{run / METRICS}: no such file; the verdict is that of {folder / METRICS}")
    if not configs or not config.read_bytes().strip():
        found.append(f"{config}: {'is empty' if configs else 'no such file'}, so the settings of the run are unknown")
    schedule = folder / SCHEDULE
    try:
        known = orjson.loads(schedule.read_bytes())
    except FileNotFoundError:
        found.append(f"{schedule}: no such file; its hash is known from the records")
    except (OSError, orjson.JSONDecodeError) as error:
        found.append(f"{schedule}: cannot be read ({error}); its hash is known from the records")
    else:
        if not isinstance(known, dict) or known.get("hash") != about.get("schedule_hash"):
            found.append(f"{schedule}: is not the schedule of these records (its hash is another)")
    return found
