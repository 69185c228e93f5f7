"""Results as pandas frames and plots, for notebooks. Units are in the column names; nothing is measured here."""

from analysis.compare import compare_runs
from analysis.frames import NoRuns, config_keys, differing, load_runs, load_tracked_runs
from analysis.requests import load_accuracy, load_requests, load_series, load_steps, load_token_gaps

__all__ = [
    "NoRuns",
    "compare_runs",
    "config_keys",
    "differing",
    "load_accuracy",
    "load_requests",
    "load_runs",
    "load_series",
    "load_steps",
    "load_token_gaps",
    "load_tracked_runs",
]
