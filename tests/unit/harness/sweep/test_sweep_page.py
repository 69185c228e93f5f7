"""The page of a sweep: who is best and who only seems to be, and what the table shows first."""

from __future__ import annotations

import re
from pathlib import Path

from harness.sweep import table
from harness.sweep.page import write_sweep_report
from harness.sweep.table import SweepRow

KNOBS = ["serving.batch.decode"]


def row(number: int, throughput: float, latency: float, half_interval: float = 0.0) -> SweepRow:
    metrics: dict[str, object] = {"output_tokens_per_s": throughput, "e2el_ms_p50": latency}
    if half_interval:
        metrics |= {"e2el_ms_p50_ci95_low": latency - half_interval, "e2el_ms_p50_ci95_high": latency + half_interval}
    return SweepRow(number, {KNOBS[0]: str(number)}, metrics, True)


def page(folder: Path, rows: list[SweepRow]) -> str:
    table.mark(rows)
    return write_sweep_report(folder, "smoke: sweep", rows, KNOBS, "outputs/x").read_text()


def test_noise_crowns_nobody(tmp_path: Path) -> None:
    rows = [row(0, 155.15, 5.0), row(1, 155.23, 5.02), row(2, 155.20, 4.99)]
    html = page(tmp_path, rows)
    assert all(one.pareto for one in rows)
    assert html.count("3 variants within 1 % of the best: call it a tie") == 2
    assert "A tie: within 1 %" in html and "<b>#0 ◆ </b>" in html and "equal within 1 %" in html


def test_a_real_difference_is_told_from_noise(tmp_path: Path) -> None:
    rows = [row(0, 100.0, 50.0), row(1, 200.0, 50.1), row(2, 201.0, 80.0)]
    html = page(tmp_path, rows)
    assert [one.pareto for one in rows] == [False, True, False]  # 2 has 0.5 % more tokens/s: equal, but slower
    assert "2 variants within 1 % of the best" in html
    assert "<b>#1 ◆ ★ </b>" in html and "<b>#0 ★ </b>" in html and "<b>#2 ★ </b>" in html


def test_intervals_that_overlap_are_a_tie_and_those_apart_are_not(tmp_path: Path) -> None:
    wide = [row(0, 100.0, 50.0, 4.0), row(1, 100.0, 55.0, 4.0)]
    assert "2 variants within the noise of the best: call it a tie" in page(tmp_path, wide)
    assert all(one.pareto for one in wide)
    narrow = [row(0, 100.0, 50.0, 2.0), row(1, 100.0, 55.0, 2.0)]
    assert "within the noise" not in page(tmp_path, narrow)
    assert [one.pareto for one in narrow] == [True, False]


def test_ticks_of_nearly_equal_variants_can_be_told_apart(tmp_path: Path) -> None:
    html = page(tmp_path, [row(number, 155.15 + number / 50, 5.0) for number in range(4)])
    chart = html[html.index('aria-label="Median E2EL against output tokens/s"') :]
    labels = re.findall(r'text-anchor="middle">([^<]+)<', chart[: chart.index("</svg>")])
    assert len(labels) >= 3 and len(set(labels)) == len(labels)
