"""Fetches a tracked run's files back into a folder, for tools that read run folders."""

from __future__ import annotations

from pathlib import Path

from harness.tracking import client as mlflow_client
from harness.tracking.errors import NotTracked
from harness.tracking.store import check, redacted


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
