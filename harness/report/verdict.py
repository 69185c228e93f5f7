"""The verdict of a run: time, requests accounted for, accuracy, as one. Pure; it neither measures nor prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from harness.accuracy import AccuracyMetrics, meets_bar
from harness.accuracy.sentence import first_not_passed, rows_passed

NOT_FINISHED = ("rejected", "failed", "cancelled", "timed_out", "lost")


class AccuracyStatus(StrEnum):
    """What is known of the logits of the configuration that was timed."""

    passed = "passed"
    failed = "failed"
    not_checked = "not_checked"  # asked not to
    not_reached = "not_reached"  # asked to, but the run ended before


@dataclass
class Verdict:
    """Whether the run counts, and if not, why: one line each."""

    passed: bool
    accuracy: AccuracyStatus
    reasons: list[str] = field(default_factory=list)

    @property
    def mark(self) -> str:
        """What must stand beside every time of this run; '' if its accuracy is in order or was not asked for."""
        if self.accuracy in (AccuracyStatus.failed, AccuracyStatus.not_reached):
            return "accuracy failed" if self.accuracy is AccuracyStatus.failed else "accuracy unknown"
        return ""

    def as_metrics(self) -> dict[str, object]:
        """Fields for metrics.json and tags."""
        return {
            "verdict": "pass" if self.passed else "fail",
            "verdict_reasons": "; ".join(self.reasons),
            "accuracy_status": self.accuracy.value,
        }


def judge(
    points: Mapping[str, Mapping[str, object]],
    accuracy: AccuracyMetrics | None,
    *,
    accuracy_wanted: bool = True,
    min_pass_rate: float = 1.0,
    bit_exact: bool = False,
    incomplete_reason: str = "",
) -> Verdict:
    """Judge a run from the flat metrics of its timed points, by label, and its logits comparison (None: there is none).

    It passes if it ran to its end, every request of every point finished, and, where asked for, enough rows agree.
    """
    reasons = [f"incomplete: {incomplete_reason}"] if incomplete_reason else []
    if not points:
        reasons.append("nothing was timed")
    for label, point in points.items():
        reasons += [f"{label}: {reason}" if len(points) > 1 else reason for reason in _unaccounted(point)]
    status = AccuracyStatus.not_checked
    if accuracy is not None:
        status = AccuracyStatus.passed if meets_bar(accuracy, min_pass_rate, bit_exact) else AccuracyStatus.failed
    elif accuracy_wanted:
        status = AccuracyStatus.not_reached
        reasons.append("the logits were not compared")
    if accuracy is not None and status is AccuracyStatus.failed:
        reasons.append(f"accuracy failed: {rows_passed(accuracy, bit_exact)}; {first_not_passed(accuracy, bit_exact)}")
    return Verdict(not reasons, status, reasons)


def _unaccounted(point: Mapping[str, object]) -> list[str]:
    """Why the requests of one point are not all in order."""
    counts = {name: _count(point, name) for name in ("total", "finished", *NOT_FINISHED)}
    ended = sum(counts.values()) - counts["total"]
    if counts["total"] == 0:
        return ["no request was sent"]
    if ended != counts["total"]:
        return [f"{counts['total']} requests, but {ended} are accounted for"]
    ill = [f"{counts[name]} {name.replace('_', ' ')}" for name in NOT_FINISHED if counts[name]]
    return [f"of {counts['total']} requests " + ", ".join(ill)] if ill else []


def _count(point: Mapping[str, object], name: str) -> int:
    value = point.get(f"requests_{name}", 0)
    return value if isinstance(value, int) else 0
