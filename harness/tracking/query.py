"""Reads runs back from MLflow, for those who compare them: as plain rows, or one run's files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.tracking import client as mlflow_client
from harness.tracking.errors import NotTracked, TrackingUnavailable
from harness.tracking.store import check, redacted

_PAGE = 500


def tracked_rows(uri: str, experiment: str) -> list[dict[str, Any]]:
    """Every run of an experiment that timed something, oldest first: run_id, run_name, parent_run_id, parameters and
    metrics under their names, tags under tags.NAME. Empty if there is no such experiment. Raises TrackingUnavailable.
    """
    check(uri)
    client = mlflow_client.connect(uri)
    try:
        found = client.get_experiment_by_name(experiment)
        if found is None:
            return []
        rows, token = [], None
        while True:
            page = client.search_runs(
                [found.experiment_id], max_results=_PAGE, order_by=["attribute.start_time ASC"], page_token=token
            )
            rows += [_row(run) for run in page if "requests_total" in run.data.metrics]
            token = page.token
            if not token:
                return rows
    except Exception as error:
        if not mlflow_client.is_store_error(error):
            raise
        raise TrackingUnavailable(f"{redacted(uri)}: cannot be read ({str(error).splitlines()[0]})") from error


def run_folder(run_id: str, into: Path, uri: str) -> Path:
    """Download the artifacts of a run into `into`.

    Raises NotTracked if the store has no such run or the run has no files, TrackingUnavailable if there is no store.
    """
    check(uri)
    client = mlflow_client.connect(uri)
    into.mkdir(parents=True, exist_ok=True)
    try:
        folder = Path(client.download_artifacts(run_id, "", str(into)))
    except Exception as error:
        if not mlflow_client.is_store_error(error):
            raise
        raise NotTracked(f"{run_id}: no run folder and no run in {redacted(uri)}") from error
    if not any(folder.iterdir()):
        raise NotTracked(f"{run_id}: the run in {redacted(uri)} has no files")
    return folder


def _row(run: Any) -> dict[str, Any]:
    tags = {f"tags.{name}": value for name, value in run.data.tags.items() if not name.startswith("mlflow.")}
    about = {
        "run_id": run.info.run_id,
        "run_name": run.info.run_name,
        "parent_run_id": run.data.tags.get("mlflow.parentRunId", ""),
        "status": run.info.status,
    }
    return {**about, **run.data.params, **run.data.metrics, **tags}
