"""The notebooks' charts: frames become the charts of the reports, gaps and all."""

from __future__ import annotations

import math
import re

import pandas as pd

from analysis import plots
from harness.charts import Figure


def tips(figure: Figure) -> list[str]:
    return re.findall("<title>(.*?)</title>", figure.svg)


def test_a_figure_s_interval_is_a_band_where_the_run_has_it() -> None:
    frame = pd.DataFrame(
        {
            "workload.arrivals.rate": [20.0, 10.0],
            "ttft_ms_p50": [6.0, 5.0],
            "ttft_ms_p50_ci95_low": [5.0, 4.0],
            "ttft_ms_p50_ci95_high": [7.0, 6.0],
            "ttft_ms_p99": [9.0, math.nan],
        }
    )
    figure = plots.against_rate(frame, ["ttft_ms_p50", "ttft_ms_p99"], "TTFT, ms")
    assert tips(figure) == ["ttft_ms_p50: 5.000 at 10.00", "ttft_ms_p50: 6.000 at 20.00", "ttft_ms_p99: 9.000 at 20.00"]
    assert figure.svg.count('class="band"') == 1


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


def test_requests_that_never_began_or_never_ended_have_a_bar() -> None:
    requests = pd.DataFrame(
        {
            "index": [0, 1, 2],
            "prompt_id": ["a", "b", "c"],
            "outcome": ["finished", "lost", "cancelled"],
            "sent_s": [0.0, 1.0, math.nan],
            "prefill_s": [0.1, math.nan, math.nan],
            "first_token_s": [0.2, math.nan, math.nan],
            "ended_s": [2.0, math.nan, math.nan],
        }
    )
    (figure,) = plots.gantt(requests)
    assert len([tip for tip in tips(figure) if tip.startswith("a (finished)")]) == 3
    assert len([tip for tip in tips(figure) if tip == "b (lost): sent at 1.000 s, ended at 2.000 s"]) == 2
    assert plots.gantt(requests.iloc[2:]) == []


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


def test_a_metric_that_is_not_there_is_left_out() -> None:
    series = pd.DataFrame({"metric": ["a", "a"], "time_s": [0.0, 1.0], "value": [1.0, 2.0]})
    assert tips(plots.over_time(series, ["a", "kv_use"], "share")) == ["a: 1.000 at 0", "a: 2.000 at 1.000"]
    assert "<polyline" not in plots.over_time(series, ["kv_use"], "share").svg
