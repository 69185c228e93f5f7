"""A run in a few lines of Markdown, for its page in MLflow. It computes no figures."""

from __future__ import annotations

from collections.abc import Mapping

from harness.accuracy.sentence import describe
from harness.report.table import (
    FEW_SAMPLES,
    LATENCIES,
    PERCENTILES,
    kv_pressure,
    percentile,
    requests_equation,
    throughput,
)
from harness.report.view import RunView, figure


def note(view: RunView) -> str:
    """Verdict and why, requests, time, latencies, accuracy, doubts, and where the files are."""
    lines = [f"## {'PASS' if view.verdict.passed else 'FAIL'} – {view.title}", ""]
    lines += [f"- ✗ {reason}" for reason in view.verdict.reasons]
    lines += ["", view.finding] if view.finding else []
    for point in view.points:
        lines += ["", f"**{point.label}**", "", *_point(point.metrics)]
    lines += ["", f"**Accuracy: {view.verdict.accuracy.value.replace('_', ' ')}**", ""]
    lines += [f"- {line}" for line in (describe(view.accuracy, view.bit_exact) if view.accuracy else [])]
    if view.distrust:
        lines += ["", "**Reasons to distrust these figures**", "", *(f"- {reason}" for reason in view.distrust)]
    return "\n".join([*lines, "", f"Files: `{view.files}` · the whole story: `report.html` under Artifacts"])


def _point(metrics: Mapping[str, object]) -> list[str]:
    lines = [
        f"- {requests_equation(metrics)} requests",
        f"- {figure(metrics, 'total_time_s', 's')} in all; {throughput(metrics)}",
        *([f"- {pressure}"] if (pressure := kv_pressure(metrics)) else []),
        "",
        f"| ms | {' | '.join(PERCENTILES)} |",
        "|---|" + "---:|" * len(PERCENTILES),
    ]
    for name, key in LATENCIES.items():
        lines.append(f"| {name} | {' | '.join(percentile(metrics, f'{key}_{p}') for p in PERCENTILES)} |")
    return [*lines, "", FEW_SAMPLES] if metrics.get("unsupported") else lines
