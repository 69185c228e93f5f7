"""The folder of a run: the names in it, which of its folders hold a timed point, and a point read back.

A run of one rate keeps its point in its own folder. Of several rates each has a folder point-N_xR, and of a search each
window has a folder window-NN_xR: N in the order of time, R the rate in requests/s. Both are points here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from harness import records
from harness.records import RecordsError, RequestRecord

CONFIG = "config.yaml"
STACK = "stack.json"  # serving.processes.stack_file
MODEL = "model.json"  # serving.weights.served_folder
DOCTOR = "doctor.json"
METRICS = "metrics.json"
SCHEDULE = "schedule.json"
RECORDS = "records.parquet"
STEPS = "steps.parquet"
SERVER_STATS = "server_stats.json"
TELEMETRY = "telemetry.parquet"
SERIES = "series.parquet"
ACCURACY = "accuracy.parquet"
SEARCH = "search.json"
MANIFEST = "manifest.json"  # of a folder of logits
REPORT = "report.html"
# What other programs are given of a run or point, and what each file holds.
FILES = {
    CONFIG: "the resolved configuration",
    STACK: "what the serving processes were given",
    DOCTOR: "what the doctor found before the run",
    MODEL: "where the model was read from",
    METRICS: "flat figures",
    SCHEDULE: "every send time, and the schedule's hash",
    RECORDS: "one row per request: three clocks, every token's arrival, outcome, error",
    STEPS: "one row per step: kind, sizes, context, time of each part in ns",
    SERVER_STATS: "the server's own figures before and after the window",
    TELEMETRY: "processes, machine and device during the window",
    SERIES: "requests and machine over time",
    ACCURACY: "one row per compared logits row",
    SEARCH: "what a search found, rate by rate",
    MANIFEST: "where captured or reference logits come from",
    REPORT: "the report",
}
TRACKING = "tracking.json"
RECEIPT = "mlflow.json"

CAPTURES = "captures"  # serving.engine.captures
REFERENCE = "reference"
LEGACY = "file_npy"  # captures, exported as the contest's

# Of a sweep's folder, whose subfolders are runs.
SWEEP = "sweep.json"
SWEEP_TABLE = "variants.json"
SWEEP_PARENT = "mlflow_parent.json"
VARIANT = "variant.json"  # in the folder of each
ERROR_LOG = "error.log"
ATTEMPT = "attempt-"  # and a number: what an earlier attempt at a variant left

_POINT = re.compile(r"(?:point|window)-(\d+)_x.+")


class RunFolderError(ValueError):
    """A folder that holds no readable run; one line that names it."""


@dataclass
class StoredPoint:
    """One timed point: its records, what they say of themselves, and the metrics of the run it belongs to."""

    folder: Path
    records: list[RequestRecord]
    about: dict[str, Any]  # schedule_hash, prompts_hash, …
    metrics: dict[str, Any]
    damaged: list[str] = field(default_factory=list)  # files beside them that can no longer vouch for them, and why


def point_folder(run_dir: Path, number: int, rate: float) -> Path:
    """Of one of several rates; number from 0."""
    return run_dir / f"point-{number}_x{rate:g}"


def window_folder(run_dir: Path, number: int, rate: float) -> Path:
    """Of a search's window; number from 1."""
    return run_dir / f"window-{number:02}_x{rate:g}"


def is_point(folder: Path) -> bool:
    """Whether the name is that of one of a run's several points."""
    return _POINT.fullmatch(folder.name) is not None


def point_folders(run_dir: Path) -> list[Path]:
    """Of a run's several points, in the order of time; [] for a run of one."""
    found = [(int(match[1]), path) for path in run_dir.glob("*/") if (match := _POINT.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def record_folders(run_dir: Path) -> list[Path]:
    """The folders of a run that hold records: its own, or those of its points in the order of time."""
    folders = [run_dir] if (run_dir / RECORDS).exists() else point_folders(run_dir)
    return [folder for folder in folders if (folder / RECORDS).exists()]


def files(folder: Path) -> list[Path]:
    """Those of `FILES` that a run, a point or a folder of logits has."""
    return [folder / name for name in FILES if (folder / name).is_file()]


def logs(run_dir: Path) -> list[Path]:
    """What the run's processes said."""
    return sorted(run_dir.glob("*.log"))


def metrics_of(folder: Path) -> dict[str, Any]:
    """The flat figures of a run or a point; {} if it has none that can be read."""
    try:
        row = orjson.loads((folder / METRICS).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return row if isinstance(row, dict) else {}


def read_points(folder: Path) -> dict[str, StoredPoint]:
    """Points by folder name, of a run or of a single point.

    Raises RunFolderError for a folder without records or verdict; a folder of several runs is such a one.
    """
    found = record_folders(folder)
    if not found:
        runs = [child for child in sorted(folder.glob("*/")) if record_folders(child)]
        if runs:
            raise RunFolderError(f"{folder}: is a folder of runs; name one of them, such as {runs[-1]}")
        raise RunFolderError(f"{folder}: holds no {RECORDS}, so there is no timed run to read")
    return {path.name: _read_point(path, folder) for path in found}


def _read_point(folder: Path, run_dir: Path) -> StoredPoint:
    try:
        rows, about = records.read(folder / RECORDS)
    except RecordsError as error:
        raise RunFolderError(str(error)) from None
    # MLflow keeps of a point, a child run there, only the point's own files.
    metrics = _verdict((run_dir if (run_dir / METRICS).exists() else folder) / METRICS)
    return StoredPoint(folder, rows, about, metrics, _damaged(folder, run_dir, about))


def _verdict(path: Path) -> dict[str, Any]:
    """The figures and the verdict of a run or a point."""
    try:
        value = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        raise RunFolderError(f"{path}: no such file, so whether the run was complete and accurate is unknown") from None
    except (OSError, orjson.JSONDecodeError) as error:
        raise RunFolderError(f"{path}: cannot be read ({error})") from None
    if not isinstance(value, dict) or "accuracy_status" not in value:
        raise RunFolderError(f"{path}: must hold the figures and the verdict of a run (accuracy_status)")
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
