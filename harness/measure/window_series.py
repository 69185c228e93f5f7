"""The course of a timed window as time series for tracking: what records, steps and telemetry say, thinned alike."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from harness.measure import timeline
from harness.observe import series_file, step_series, steps
from harness.observe.series_file import Sample
from harness.records import RequestRecord
from harness.run_folder import SERIES, STEPS

MAX_POINTS = 300  # per series: ten minutes in steps of two seconds
REQUESTS = "series."  # prefix of what the records and the server's steps say
SYSTEM = "system/"  # prefix under which MLflow shows the figures of machines


def write(folder: Path, records: list[RequestRecord], telemetry: Path) -> bool:
    """Write series.parquet into a point's folder, seconds since the window's start; False if there is nothing."""
    last_s = max((phase.ended_s for phase in timeline.phases(records)), default=0.0)
    every_s = float(max(1, math.ceil(last_s / MAX_POINTS)))
    samples = [
        *_of_requests(records, every_s),
        *_of_steps(folder / STEPS, every_s, last_s),
        *_of_machine(telemetry, every_s, last_s),
    ]
    if samples:
        series_file.write(folder / SERIES, samples)
    return bool(samples)


def _of_requests(records: list[RequestRecord], every_s: float) -> Iterator[Sample]:
    course = timeline.series(records, every_s)
    for name, values in course.values.items():
        for end_s, value in zip(course.end_s, values, strict=True):
            yield Sample(f"{REQUESTS}{name}", float(end_s), float(value))


def _of_steps(path: Path, every_s: float, last_s: float) -> Iterator[Sample]:
    """KV use, queue and batch as the server's steps tell them; nothing where they don't."""
    table = steps.read(path)
    found = step_series.series(table, every_s, last_s) if table is not None else None
    if found is None:
        return
    for name, values in found.values.items():
        for end_s, value in zip(found.end_s, values, strict=True):
            if math.isfinite(value):
                yield Sample(f"{REQUESTS}{name}", float(end_s), float(value))


def _of_machine(path: Path, every_s: float, last_s: float) -> Iterator[Sample]:
    """Means per interval of CPUs, memory and devices; nothing where no telemetry can be read."""
    try:
        found = series_file.read(path) if path.is_file() else []
    except (OSError, pa.ArrowException):
        return
    groups: dict[tuple[str, int], list[float]] = defaultdict(list)
    for sample in found:
        if 0 <= sample.time_s <= last_s:
            groups[sample.metric, int(sample.time_s // every_s)].append(sample.value)
    for (name, interval), values in sorted(groups.items()):
        yield Sample(SYSTEM + name, (interval + 1) * every_s, float(np.mean(values)))
