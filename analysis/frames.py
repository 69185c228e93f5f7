"""Many runs as one frame: a row per timed point, with its configuration and its figures. It opens no records."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from harness.claim import LATEST
from harness.run_folder import ATTEMPT, CONFIG, METRICS, is_point, point_folders
from harness.tracking.query import tracked_rows
from harness.tracking.store import default_uri
from harness.tracking.tracked_run import flatten

RATE = "workload.arrivals.rate"
_COPIES = {LATEST, "mlartifacts"}  # the newest run by another name, and what MLflow keeps
# What a point's own figures do not say.
_OF_THE_RUN: tuple[str, ...] = ("verdict", "accuracy_status", "complete", "config_digest")


class NoRuns(FileNotFoundError):
    """Nothing to show: the message names the place and a command that makes a run."""


def load_runs(outputs: Path | str = "outputs") -> pd.DataFrame:
    """One row per timed point of every run folder below `outputs`, oldest first.

    Columns: run_dir, name and point (folders), the flattened configuration under its keys (numbers where all values
    are), and the figures of metrics.json under their names, which carry their units. A run of one rate is one point.
    A folder that cannot be read is skipped with a warning that names it; `attrs["skipped"]` lists them. Raises NoRuns
    if nothing can be read.
    """
    outputs = Path(outputs)
    rows: list[dict[str, Any]] = []
    skipped: list[str] = []
    for path in sorted(_run_files(outputs), key=lambda found: found.stat().st_mtime):
        try:
            rows += _rows(path.parent)
        except (OSError, ValueError, YAMLError, OmegaConfBaseException) as error:
            skipped.append(str(path.parent))
            warnings.warn(f"{path}: skipped, cannot be read ({str(error).splitlines()[0]})", stacklevel=2)
    if not rows:
        raise NoRuns(_nothing(f"{outputs}: no run folder with a readable metrics.json below it", skipped))
    return _frame(rows, skipped)


def load_tracked_runs(uri: str = "", experiment: str = "plumbline", outputs: Path | str = "outputs") -> pd.DataFrame:
    """The same from MLflow: a row per run and point, with run_id and run_name in place of run_dir; tags as tags.NAME.

    uri: "" = the SQLite file in `outputs`. Raises TrackingUnavailable for a store out of reach, NoRuns for an
    experiment without runs.
    """
    uri = uri or default_uri(Path(outputs))
    rows = tracked_rows(uri, experiment)
    if not rows:
        raise NoRuns(_nothing(f"{uri}: experiment {experiment} has no runs", []))
    return _frame(rows, [])


def config_keys(frame: pd.DataFrame) -> list[str]:
    """The columns of the configuration: those with a dot, of the groups a run is made of."""
    groups = ("serving.", "model.", "device.", "workload.", "accuracy.")
    return [column for column in frame.columns if column.startswith(groups)]


def differing(frame: pd.DataFrame) -> list[str]:
    """The configuration keys whose values are not the same in all rows: what a sweep varied."""
    return [key for key in config_keys(frame) if frame[key].nunique(dropna=False) > 1]


def _run_files(outputs: Path) -> Iterator[Path]:
    """metrics.json of runs, each once: not of their points, nor of attempts that were set aside."""
    for path in outputs.glob(f"**/{METRICS}"):
        inside = path.relative_to(outputs).parts
        is_aside = bool(_COPIES & set(inside)) or any(part.startswith(ATTEMPT) for part in inside)
        if not is_aside and not is_point(path.parent):
            yield path


def _rows(run_dir: Path) -> Iterator[dict[str, Any]]:
    whole = _metrics(run_dir / METRICS)
    config = run_dir / CONFIG
    params = _params(config) if config.exists() else {}
    points = [folder / METRICS for folder in point_folders(run_dir) if (folder / METRICS).exists()]
    about = {"run_dir": str(run_dir), "name": run_dir.parent.name, **params}
    if not points:
        yield {**about, "point": "", **whole}
    for path in points:
        figures = _metrics(path)
        shared: dict[str, Any] = {key: whole[key] for key in _OF_THE_RUN if key in whole}
        yield {**about, RATE: figures.get("rate"), "point": path.parent.name, **shared, **figures}


def _metrics(path: Path) -> dict[str, Any]:
    row = json.loads(path.read_text())
    if not isinstance(row, dict) or "requests_total" not in row:
        raise ValueError("it holds no figures of a run")
    return {name: value for name, value in row.items() if not isinstance(value, list | dict)}


def _params(path: Path) -> dict[str, str]:
    config = OmegaConf.to_container(OmegaConf.load(path))
    if not isinstance(config, Mapping):
        raise ValueError("config.yaml is no mapping")
    return flatten({str(key): value for key, value in config.items() if key != "name"})


def _frame(rows: list[dict[str, Any]], skipped: list[str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows)
    for column in config_keys(frame):
        numbers = pd.to_numeric(frame[column], errors="coerce")
        if numbers.notna().eq(frame[column].notna() & (frame[column] != "")).all() and numbers.notna().any():
            frame[column] = numbers
    frame.attrs["skipped"] = skipped
    return frame


def _nothing(text: str, skipped: list[str]) -> str:
    unread = f" ({len(skipped)} could not be read)" if skipped else ""
    return f"{text}{unread}; make a run first: python launch.py experiment=smoke"
