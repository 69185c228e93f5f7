"""`python -m harness.tracking.upload RUN_DIR`: send a finished run, or a sweep with all its variants, to MLflow.

For when the store was out of reach at the time; what it has already is not sent again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from harness.config import TrackingConfig
from harness.run_folder import CONFIG, METRICS, RECORDS, TRACKING
from harness.tracking import receipt as receipts
from harness.tracking.errors import NotTracked, TrackingFailed, TrackingUnavailable
from harness.tracking.receipt import Receipt
from harness.tracking.store import PASSWORD_HIDDEN, default_uri
from harness.tracking.tracked_run import TrackedRun, load
from harness.tracking.tracker import Tracker, open_tracker

_NEEDED = (CONFIG, METRICS, RECORDS)  # without these a run's page says nothing that holds


def main(arguments: list[str]) -> int:
    """Exit status 0: sent, now or before; 1: the store did not take it; 2: no run there, or no such store."""
    parser = argparse.ArgumentParser(prog="python -m harness.tracking.upload", description=__doc__)
    parser.add_argument("run_dir", type=Path, help="folder of a run or of a sweep under outputs/")
    parser.add_argument("--uri", help="MLflow tracking URI (default: where the run was to go)")
    parser.add_argument("--experiment", help="default: the run's own")
    parser.add_argument("--outputs", type=Path, default=Path("outputs"), help="folder of the default SQLite file")
    options = parser.parse_args(arguments)
    try:
        runs = {folder: load(folder) for folder in _folders(options.run_dir)}
        for folder, run in runs.items():
            if not _is_sweep(run):
                check_files(folder, run)
        for folder, run in runs.items():
            _send(folder, run, options)
    except (NotTracked, TrackingUnavailable) as error:
        print(error, file=sys.stderr)
        return 2
    except TrackingFailed as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _folders(run_dir: Path) -> list[Path]:
    """The run's folder; of a sweep those of its variants that came to an end, and its own last."""
    variants = sorted(path.parent for path in run_dir.glob(f"*/{TRACKING}")) if _is_sweep(load(run_dir)) else []
    return [*variants, run_dir]


def _is_sweep(run: TrackedRun) -> bool:
    return run.tags.get("kind") == "sweep"


def _send(folder: Path, run: TrackedRun, options: argparse.Namespace) -> None:
    # A sweep's parent goes where its first variant went.
    receipt = receipts.read(folder) or next(filter(None, map(receipts.read, sorted(folder.glob("*/")))), None)
    earlier = receipt or Receipt(default_uri(options.outputs), TrackingConfig().experiment)
    uri = options.uri or earlier.uri
    if PASSWORD_HIDDEN in uri:
        raise TrackingUnavailable(f"{uri}: its password was not kept; give the whole URI with --uri")
    config = TrackingConfig(uri=uri, experiment=options.experiment or earlier.experiment)
    tracker = open_tracker(config, options.outputs)
    assert isinstance(tracker, Tracker), "tracking is on in this configuration"
    run_id = tracker.close_sweep(folder, run) if _is_sweep(run) else tracker.upload(folder, run).run_id
    print(f"{folder}: run {run_id} of experiment {config.experiment}; to see it: {tracker.ui_command}")


def check_files(run_dir: Path, run: TrackedRun) -> None:
    """Raise NotTracked, in one line, if a file of the run is corrupt, or one is gone without which it means nothing.

    Logs and pages are sent as they are; of the rest, what the user removed is left out.
    """
    for name in _files(run):
        path = run_dir / name
        if path.is_file():
            _check_file(path)
        elif path.name in _NEEDED:
            raise NotTracked(f"{path}: no such file, though the run had it; nothing was sent")


def _files(run: TrackedRun) -> Iterator[str]:
    yield from run.artifacts
    yield from [run.series] if run.series else []
    for child in run.children:
        yield from _files(child)


def _check_file(path: Path) -> None:
    try:
        if path.suffix == ".parquet":
            pq.read_table(path)
        elif path.suffix == ".json":
            _filled(orjson.loads(path.read_bytes()))
        elif path.suffix == ".yaml":
            _filled(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, pa.ArrowException, yaml.YAMLError) as error:
        reason = str(error).partition("\n")[0]
        raise NotTracked(f"{path}: cannot be read ({reason}); nothing was sent") from error


def _filled(content: object) -> None:
    if not isinstance(content, dict) or not content:
        raise ValueError("it holds no values")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
