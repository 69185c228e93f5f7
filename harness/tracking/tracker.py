"""Tracking as the harness sees it: checked before the run, fed after it, never in between. It computes nothing."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from harness.config import TrackingConfig
from harness.run_folder import SWEEP_PARENT
from harness.tracking import client as mlflow_client
from harness.tracking import receipt as receipts
from harness.tracking import store
from harness.tracking.errors import TrackingFailed
from harness.tracking.receipt import Receipt
from harness.tracking.tracked_run import RunStatus, TrackedRun, save

if TYPE_CHECKING:
    from mlflow import MlflowClient


class Tracker:
    """A store of runs."""

    def __init__(self, uri: str, experiment: str, outputs: Path) -> None:
        self.uri = uri
        self.experiment = experiment
        self.outputs = outputs
        self._client: MlflowClient | None = None

    @property
    def ui_command(self) -> str:
        """What to type, or where to look, to see the runs."""
        return store.ui_command(self.uri, self.outputs)

    def warm(self) -> None:
        """Import MLflow and open the store ahead of need, when nothing is being timed: it takes seconds."""
        with self._store_errors():
            self._connected()

    def log_run(self, run_dir: Path, run: TrackedRun) -> mlflow_client.LoggedRun:
        """Keep the record in run_dir, then send it and its children. Raises TrackingFailed; the files stay complete."""
        save(run_dir, run)
        return self.upload(run_dir, run)

    def upload(self, run_dir: Path, run: TrackedRun) -> mlflow_client.LoggedRun:
        """Send a kept record, continuing an earlier attempt. Raises TrackingFailed, naming the command to try again."""
        receipt = receipts.read(run_dir)
        if receipt is None or receipt.uri != store.redacted(self.uri):
            receipt = Receipt(store.redacted(self.uri), self.experiment)
            receipts.write(run_dir, receipt)
        again = f"; the files are complete, send them later: python -m harness.tracking.upload {run_dir}"
        with self._store_errors(again):
            for index, part in enumerate([run, *run.children] if not receipt.complete else []):
                if index == len(receipt.run_ids):
                    receipt.experiment_id = self._experiment_id()
                    parent = receipt.run_ids[0] if index else self._parent_of(run_dir, run, again)
                    created = mlflow_client.create_run(self._connected(), receipt.experiment_id, part, parent)
                    receipt.run_ids.append(created)
                    receipts.write(run_dir, receipt)
                mlflow_client.send(self._connected(), receipt.run_ids[index], part, run_dir)
            receipt.complete = True
            receipts.write(run_dir, receipt)
        return mlflow_client.LoggedRun(receipt.run_ids[0], receipt.experiment_id)

    def _parent_of(self, run_dir: Path, run: TrackedRun, advice: str) -> str:
        """Asked for when the run is sent: a store that was out of reach until then knew no parent to name."""
        if run.parent_run_id or not run.sweep_name:
            return run.parent_run_id
        return self.sweep_parent(run_dir.resolve().parent, run.sweep_name, run.started_ms, advice)

    def sweep_parent(self, sweep_dir: Path, name: str, started_ms: int = 0, advice: str = "") -> str:
        """Run id of the parent that all jobs of a sweep share: the first to ask creates it, the others find it.

        Jobs may be processes on several machines with sweep_dir in common. Raises TrackingFailed.
        """
        sweep_dir.mkdir(parents=True, exist_ok=True)
        with (sweep_dir / SWEEP_PARENT).open("a+b") as file, self._store_errors(advice):
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            known = orjson.loads(file.read() or b"{}")
            if known.get("uri") == store.redacted(self.uri):
                return str(known["run_id"])
            started_ms = started_ms or int(time.time() * 1e3)
            parent = TrackedRun(name=name, started_ms=started_ms, ended_ms=started_ms, status=RunStatus.finished)
            run_id = mlflow_client.create_run(self._connected(), self._experiment_id(), parent, "")
            file.truncate(0)
            file.write(orjson.dumps({"uri": store.redacted(self.uri), "run_id": run_id}))
            return run_id

    def close_sweep(self, sweep_dir: Path, parent: TrackedRun) -> str:
        """Send what is to be told of the whole sweep (files relative to sweep_dir) and end the parent; its run id."""
        again = f"; the sweep's files are complete, send them later: python -m harness.tracking.upload {sweep_dir}"
        run_id = self.sweep_parent(sweep_dir, parent.name, advice=again)
        with self._store_errors(again):
            mlflow_client.send(self._connected(), run_id, parent, sweep_dir)
        return run_id

    def _connected(self) -> MlflowClient:
        if self._client is None:
            with _alone(self.uri):
                self._client = mlflow_client.connect(self.uri)
        return self._client

    def _experiment_id(self) -> str:
        local = self.uri.startswith(store.SQLITE)
        artifacts = self.outputs / "mlartifacts" if local else None
        return mlflow_client.experiment_id(self._connected(), self.experiment, artifacts)

    @contextmanager
    def _store_errors(self, advice: str = "") -> Iterator[None]:
        """Turn what the store or the network did into one line; our own errors pass."""
        try:
            yield
        except Exception as error:
            if not mlflow_client.is_store_error(error):
                raise
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise TrackingFailed(f"MLflow at {store.redacted(self.uri)} failed ({reason}){advice}") from error


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Hold a SQLite file's folder: of several processes that open a new file, one makes its tables, the rest wait."""
    if not uri.startswith(store.SQLITE):
        yield
        return
    folder = os.open(Path(uri.removeprefix(store.SQLITE)).parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def tracker_for(config: TrackingConfig, outputs: Path) -> Tracker | None:
    """The configured store, whether or not it can be reached now, or None if tracking is off."""
    if not config.enabled:
        return None
    return Tracker(config.uri or store.default_uri(outputs), config.experiment, outputs)


def open_tracker(config: TrackingConfig, outputs: Path) -> Tracker | None:
    """The same, checked. Raises TrackingUnavailable, in one line, if it is out of reach."""
    tracker = tracker_for(config, outputs)
    if tracker is not None:
        store.check(tracker.uri)
    return tracker
