"""A run's results in the form that is tracked: parameters, metrics, tags, note, artifacts, a child per point."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from harness import run_folder
from harness.config import HarnessConfig
from harness.load.generator import INTERRUPTED
from harness.measure import metrics
from harness.report import Verdict
from harness.run.environment import environment
from harness.run.info import RunInfo
from harness.run.timed_point import Point
from harness.tracking.tracked_run import Dataset, RunStatus, TrackedRun, numbers, texts

_HEADLINE = ("output_tokens_per_s", "ttft_ms_p50", "tpot_ms_p50", "e2el_ms_p50", "allclose_pass_rate", "total_time_s")
ROOT = Path(__file__).parents[2]


def tracked_run(
    config: HarnessConfig, info: RunInfo, points: list[Point], verdict: Verdict, row: dict[str, Any], note: str
) -> TrackedRun:
    """The run as it is tracked; with several points, each is a child. note: Markdown for its page."""
    about = environment(ROOT)
    status = run_status(verdict, str(row["incomplete_reason"]))
    tags = {
        **{name: str(value) for name, value in texts(row).items()},
        "complete": str(row["complete"]).lower(),
        "device": info.device,
        "origin": "measured",
        "variant": info.variant,
        **{name: about[name] for name in about if name.startswith("env.git_")},
    }
    return TrackedRun(
        name=info.variant or f"{info.name} {info.run_dir.name}",
        started_ms=info.started_ms,
        ended_ms=round(time.time() * 1e3),
        status=status,
        params=info.params | about,
        metrics=_headline_first(numbers(row)),
        tags={name: value for name, value in tags.items() if value},
        note=note,
        artifacts=_relative(info.run_dir, [*run_folder.files(info.run_dir), *run_folder.logs(info.run_dir)]),
        series=_series(info, points[0]) if len(points) == 1 and points[0].folder == info.run_dir else "",
        series_started_ms=points[0].started_ms if points else 0,
        datasets=[_dataset(config, point) for point in points[:1]],
        children=[_child(config, info, point, status, verdict) for point in points if point.folder != info.run_dir],
    )


def _headline_first(figures: dict[str, float]) -> dict[str, float]:
    """The same figures; MLflow's pages offer first what was sent first."""
    return {name: figures[name] for name in _HEADLINE if name in figures} | figures


def run_status(verdict: Verdict, incomplete_reason: str) -> RunStatus:
    """How the run ended, in the tracker's words."""
    if incomplete_reason == INTERRUPTED:
        return RunStatus.killed
    return RunStatus.finished if verdict.passed else RunStatus.failed


def _child(config: HarnessConfig, info: RunInfo, point: Point, status: RunStatus, verdict: Verdict) -> TrackedRun:
    row = metrics.flat(point.metrics)
    return TrackedRun(
        name=f"X={point.rate:g}" + (f" window {point.window}" if point.window else ""),
        started_ms=point.started_ms,
        ended_ms=point.ended_ms,
        status=status,
        params=info.params | {"workload.arrivals.rate": f"{point.rate:g}"},
        metrics=_headline_first(numbers(row)),
        tags={
            **texts(row),
            "schedule_hash": point.schedule.hash,
            "prompts_hash": point.prompts_hash,
            "accuracy_status": verdict.accuracy.value,
        },
        artifacts=_relative(info.run_dir, run_folder.files(point.folder)),
        series=_series(info, point),
        datasets=[_dataset(config, point)],
    )


def _series(info: RunInfo, point: Point) -> str:
    """The place of a point's time series in the run folder, '' if there are none."""
    path = point.folder / run_folder.SERIES
    return str(path.relative_to(info.run_dir)) if path.is_file() else ""


def _relative(run_dir: Path, paths: list[Path]) -> list[str]:
    return [str(path.relative_to(run_dir)) for path in paths]


def _dataset(config: HarnessConfig, point: Point) -> Dataset:
    dataset = config.workload.dataset
    return Dataset(
        name=f"{config.workload.name} prompts",
        digest=point.prompts_hash,
        source=dataset.path or dataset.format.value,
        profile={"prompts": point.schedule.count},
    )
