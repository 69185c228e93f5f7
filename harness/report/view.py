"""What is shown of a run, in the terminal, the report and MLflow's notes. It knows no layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.accuracy import AccuracyMetrics
from harness.charts import number
from harness.records import RequestRecord
from harness.report.verdict import Verdict


@dataclass
class PointView:
    """One timed point: what was asked, and its flat metrics (names as in harness.measure.metrics)."""

    label: str  # such as "2 requests/s"
    metrics: Mapping[str, object]
    rate: float | None = None  # X, requests/s as asked for; None in a closed loop
    records: list[RequestRecord] = field(default_factory=list)
    folder: Path | None = None  # where the point's files are


@dataclass
class RunView:
    """One run."""

    title: str  # such as "laptop: smollm2-135m-instruct on cpu"
    verdict: Verdict
    points: list[PointView]
    accuracy: AccuracyMetrics | None = None
    bit_exact: bool = False
    distrust: list[str] = field(default_factory=list)  # reasons not to believe the figures, one sentence each
    finding: str = ""  # of a search over rates, in one sentence
    slo: str = ""  # the SLO that was searched for: its attainment has a column
    files: str = ""  # the run folder
    ui: str = ""  # command or address that shows the run in MLflow
    run_dir: Path | None = None  # to look for step times and the table of logits rows
    params: Mapping[str, str] = field(default_factory=dict)  # flattened configuration and environment


def figure(metrics: Mapping[str, object], name: str, unit: str = "", digits: int = 4) -> str:
    """A metric for people: some significant digits, no exponent where avoidable; '–' if it is unknown."""
    value = metrics.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–"
    return number(value, digits) + (f" {unit}" if unit else "")
