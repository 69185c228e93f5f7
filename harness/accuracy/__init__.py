"""Logits captured from the server under load, compared with a reference. It reads folders and knows no server."""

from harness.accuracy.compare import Comparison, Tolerance, compare_folders
from harness.accuracy.errors import UnusableInput
from harness.accuracy.metrics import AccuracyMetrics, meets_bar
from harness.accuracy.ulp import ServedDtype

__all__ = [
    "AccuracyMetrics",
    "Comparison",
    "ServedDtype",
    "Tolerance",
    "UnusableInput",
    "compare_folders",
    "meets_bar",
]
