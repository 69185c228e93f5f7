"""Verdict, table and report of a run: from figures already computed to something people read."""

from harness.report.note import note
from harness.report.page import write_report
from harness.report.table import print_verdict, verdict_table
from harness.report.verdict import AccuracyStatus, Verdict, judge
from harness.report.view import PointView, RunView

__all__ = [
    "AccuracyStatus",
    "PointView",
    "RunView",
    "Verdict",
    "judge",
    "note",
    "print_verdict",
    "verdict_table",
    "write_report",
]
