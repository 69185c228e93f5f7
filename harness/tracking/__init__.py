"""Runs, sent to MLflow after they ended. Only client.py imports MLflow, and only when there is something to send."""

from harness.tracking.errors import NotTracked, TrackingFailed, TrackingUnavailable
from harness.tracking.tracked_run import Dataset, RunStatus, TrackedRun
from harness.tracking.tracker import Tracker, open_tracker

__all__ = [
    "Dataset",
    "NotTracked",
    "RunStatus",
    "TrackedRun",
    "Tracker",
    "TrackingFailed",
    "TrackingUnavailable",
    "open_tracker",
]
