"""The notebooks' charts: what the reports' charts get of frames, gaps and all."""

from __future__ import annotations

import math
import re

import pandas as pd

from analysis import plots
from harness.charts import Figure


def tips(figure: Figure) -> list[str]:
    return re.findall("<title>(.*?)</title>", figure.svg)


def test_variants_are_marked_as_the_sweep_s_report_marks_them() -> None:
    sweep = pd.DataFrame(
        {
            "serving.batch.decode": [1, 2, 4, 8],
            "verdict": ["pass", "pass", "pass", "fail"],
            "accuracy_status": ["passed", "passed", "passed", "failed"],
            "output_tokens_per_s": [100.0, 100.5, 200.0, 999.0],
            "e2el_ms_p50": [50.0, 50.2, 80.0, 1.0],
        }
    )
    rows = plots.sweep_rows(sweep, ["serving.batch.decode"])
    assert [row.pareto for row in rows] == [True, True, True, False], "1 and 2 are equal within 1 %"
    assert [row.name for row in rows] == ["decode=1", "decode=2", "decode=4", "decode=8"]


def test_a_comparison_is_drawn_even_without_an_interval() -> None:
    frame = pd.DataFrame(
        {
            "metric": ["ttft_ms_p50", "tpot_ms_p50"],
            "low": [-0.2, math.nan],
            "change": [-0.1, 0.5],
            "high": [-0.05, math.nan],
            "verdict": ["faster", "no evidence"],
        }
    )
    figure = plots.intervals(frame)
    assert "faster: -10.0 % (-20.0 to -5.0 %)" in tips(figure)
    assert (figure.svg.count("<rect"), figure.svg.count("<circle")) == (1, 2)


def test_requests_that_one_run_did_not_finish_are_left_out() -> None:
    pairs = pd.DataFrame({"index": [0, 1], "e2el_ms_a": [10.0, math.nan], "e2el_ms_b": [12.5, 9.0]})
    assert tips(plots.request_by_request(pairs, "e2el_ms", "E2EL, ms")) == ["request 0: 10 in A, 12.5 in B"]
