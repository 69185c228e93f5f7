"""The only module that imports MLflow. It sends what it is given and computes nothing."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from harness import time_series
from harness.tracking.tracked_run import Dataset, RunStatus, TrackedRun

if TYPE_CHECKING:
    from mlflow import MlflowClient

# Must be set before MLflow is imported: it reports usage to its makers otherwise, and retries for minutes.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "GIT_PYTHON_REFRESH": "quiet",
}
# Limits of MLflow's batch call (https://mlflow.org/docs/latest/rest-api.html, "Request limits").
METRICS_PER_BATCH = 1000
PARAMS_PER_BATCH = 100
TAGS_PER_BATCH = 100
TEXT_LIMIT = 5000  # of a parameter's or a tag's value; a longer one is cut

Item = TypeVar("Item")


@dataclass
class LoggedRun:
    """Where a run went."""

    run_id: str
    experiment_id: str


def connect(uri: str) -> MlflowClient:
    """Import MLflow (seconds) and open the store; a new SQLite file gets its tables now, without a word."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient  # noqa: PLC0415  the import takes seconds: only when there is something to log

    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=uri)


def is_store_error(error: BaseException) -> bool:
    """Whether an exception is the store's or the network's doing, not ours."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    return isinstance(error, MlflowException | SQLAlchemyError | OSError)


def experiment_id(client: MlflowClient, name: str, artifacts: Path | None) -> str:
    """Find the experiment or create it; `artifacts` is its folder, None where a server decides."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            location = (artifacts / name).resolve().as_uri() if artifacts else None
            # Without the kind, MLflow's pages take the experiment for one of prompts and traces.
            return client.create_experiment(name, location, {"mlflow.experimentKind": "custom_model_development"})
        except MlflowException:
            found = client.get_experiment_by_name(name)  # another job of the sweep was first
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def create_run(client: MlflowClient, experiment: str, run: TrackedRun, parent_run_id: str) -> str:
    """Create the run, under a parent if there is one, and return its id."""
    tags = {"mlflow.parentRunId": parent_run_id} if parent_run_id else {}
    created = client.create_run(experiment, start_time=run.started_ms, tags=tags, run_name=run.name)
    return str(created.info.run_id)


def send(client: MlflowClient, run_id: str, run: TrackedRun, run_dir: Path) -> None:
    """Send everything about a created run and end it. May be repeated after a failure: nothing is counted twice."""
    from mlflow.entities import Metric, Param, RunTag  # noqa: PLC0415

    tags = dict(run.tags)
    if run.note:
        tags["mlflow.note.content"] = run.note
    params = [Param(name, value[:TEXT_LIMIT]) for name, value in run.params.items()]
    metrics = [Metric(name, value, run.ended_ms, 0) for name, value in run.metrics.items()]
    if run.series:
        zero_ms = run.series_started_ms or run.started_ms
        metrics += [
            Metric(one.name, value, zero_ms + int(time_s * 1e3), int(time_s))
            for one in time_series.read(run_dir / run.series)
            for time_s, value in zip(one.times_s.tolist(), one.values.tolist(), strict=True)
        ]
    for some in _batches(params, PARAMS_PER_BATCH):
        client.log_batch(run_id, params=some)
    for some_tags in _batches([RunTag(name, value[:TEXT_LIMIT]) for name, value in tags.items()], TAGS_PER_BATCH):
        client.log_batch(run_id, tags=some_tags)
    for some_metrics in _batches(metrics, METRICS_PER_BATCH):
        client.log_batch(run_id, metrics=some_metrics)
    if run.datasets:
        client.log_inputs(run_id, [_dataset(dataset) for dataset in run.datasets])
    for name in run.artifacts:
        if (run_dir / name).is_file():
            client.log_artifact(run_id, str(run_dir / name))
    end(client, run_id, run.status, run.ended_ms)


def end(client: MlflowClient, run_id: str, status: RunStatus, ended_ms: int | None = None) -> None:
    """Mark a run as ended."""
    client.set_terminated(run_id, status.value, ended_ms)


def _dataset(dataset: Dataset) -> Any:
    from mlflow.entities import Dataset as Entity  # noqa: PLC0415
    from mlflow.entities import DatasetInput, InputTag  # noqa: PLC0415

    source_type = "http" if dataset.source.startswith("http") else "local"
    entity = Entity(
        name=dataset.name,
        digest=dataset.digest[:36],
        source_type=source_type,
        source=json.dumps({"uri": dataset.source}),
        profile=json.dumps(dataset.profile),
    )
    return DatasetInput(entity, [InputTag("mlflow.data.context", dataset.context)])


def _batches(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
