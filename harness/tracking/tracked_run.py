"""What is told about a run: a plain record that is kept beside the run's files and can be sent now or later.

It knows neither MLflow nor where the figures come from.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

import orjson

from harness import whole_file
from harness.run_folder import TRACKING
from harness.tracking.errors import NotTracked

FORMAT = 1


class RunStatus(StrEnum):
    """How a run ended, in MLflow's words."""

    finished = "FINISHED"
    failed = "FAILED"  # it ran, but its verdict is a failure, or the server died
    killed = "KILLED"  # interrupted


@dataclass
class Dataset:
    """What went into a run."""

    name: str
    digest: str  # of the content; at most 36 characters
    source: str  # path or URL
    context: str = "load"  # what it was used for
    profile: dict[str, float] = field(default_factory=dict)  # such as {"prompts": 200}


@dataclass
class TrackedRun:
    """One run, or one point or variant of it."""

    name: str
    started_ms: int  # Unix epoch
    ended_ms: int
    status: RunStatus
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    note: str = ""  # Markdown, shown on the run's page
    artifacts: list[str] = field(default_factory=list)  # relative to the run folder
    series: str = ""  # Parquet file with time series, relative to the run folder; see series.py
    series_started_ms: int = 0  # Unix epoch of its second 0; 0 = started_ms
    datasets: list[Dataset] = field(default_factory=list)
    parent_run_id: str = ""
    sweep_name: str = ""  # of a variant, whose folder lies in its sweep's: what their common parent is called
    children: list[TrackedRun] = field(default_factory=list)


def flatten(config: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """Nested configuration to parameters with dotted names, stable in name and order; lists become JSON."""
    return dict(_flatten(config, prefix))


def _flatten(config: Mapping[str, object], prefix: str) -> Iterator[tuple[str, str]]:
    for key in sorted(config, key=str):
        value, name = config[key], f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{name}.")
        else:
            text = json.dumps(value) if isinstance(value, list | tuple | bool) else "" if value is None else str(value)
            yield re.sub(r"[^\w.\-/ ]", "_", name), text


def numbers(metrics: Mapping[str, object]) -> dict[str, float]:
    """The finite numbers among flat metrics; truth values become 0 and 1, what is text or unknown is left out."""
    return {
        name: float(value)
        for name, value in metrics.items()
        if isinstance(value, bool | int | float) and math.isfinite(value)
    }


def texts(metrics: Mapping[str, object]) -> dict[str, str]:
    """The texts among flat metrics, such as the name of the worst prompt: they become tags."""
    return {name: value for name, value in metrics.items() if isinstance(value, str) and value}


def save(run_dir: Path, run: TrackedRun) -> None:
    """Write the record beside the run's files, whole or not at all."""
    whole_file.write_json(run_dir / TRACKING, {"format": FORMAT, **asdict(run)})


def load(run_dir: Path) -> TrackedRun:
    """Read it back. Raises NotTracked, in one line, for a folder without a readable one."""
    path = run_dir / TRACKING
    try:
        fields = orjson.loads(path.read_bytes())
        if not isinstance(fields, dict) or fields.pop("format", None) != FORMAT:
            raise NotTracked(f"{path}: is not of format {FORMAT}; it was written by another version")
        return _run(fields)
    except FileNotFoundError as error:
        raise NotTracked(f"{run_dir}: holds no {TRACKING}, so there is no finished run to upload") from error
    except (OSError, orjson.JSONDecodeError, TypeError, ValueError, KeyError) as error:
        raise NotTracked(f"{path}: cannot be read ({error})") from error


def _run(fields: dict[str, object]) -> TrackedRun:
    run = TrackedRun(**fields)  # type: ignore[arg-type]
    run.status = RunStatus(run.status)
    run.datasets = [Dataset(**dataset) for dataset in fields["datasets"]]  # type: ignore[attr-defined]
    run.children = [_run(child) for child in fields["children"]]  # type: ignore[attr-defined]
    return run


def parent_name(name: str, sweep_dir: Path) -> str:
    """What the run that a sweep's variants hang under is called."""
    return f"{name} sweep {sweep_dir.name.removesuffix('_sweep')}"
