"""Step figures of exactly the window, from two readings of /stats; samples as tidy series."""

from __future__ import annotations

from typing import Any

import pytest

from harness.measure import metrics
from harness.measure.metrics import Metrics
from harness.observe import observer
from harness.observe.series_file import Sample
from harness.observe.telemetry import MachineUse


def agent(num_decode: int, decode_s: float, p99_us: float, preemptions: int = 0) -> dict[str, Any]:
    return {
        "preemptions": preemptions,
        "step_time_histogram": {
            "decode": {"cumulative_counts": [num_decode - 1, num_decode], "sum_s": decode_s},
            "prefill": {"cumulative_counts": [0, 0], "sum_s": 0.0},
        },
        "steps": {"decode": {"count": 9, "step_us": {"p50": 1000.0, "p99": p99_us}, "plan_us": {"p50": 1.0}}},
    }


def page(*agents: dict[str, Any]) -> dict[str, Any]:
    return {"engine": {"agents": list(agents)}}


def test_counts_and_means_are_differences_and_percentiles_the_slowest_agent_s() -> None:
    before = page(agent(100, 9.0, 5000), agent(50, 1.0, 5000))
    after = page(agent(300, 11.0, 2000, preemptions=3), agent(150, 2.0, 4000))
    assert observer.step_figures(before, after) == {
        "decode_steps": 300,
        "decode_step_ms_mean": pytest.approx(10.0),
        "decode_step_ms_p50": 1.0,
        "decode_step_ms_p99": 4.0,
        "preemptions": 3,
    }


def test_a_server_that_says_nothing_gives_nothing() -> None:
    assert observer.step_figures(None, page()) == {}
    assert observer.step_figures(page(agent(5, 1.0, 1.0)), page(agent(5, 1.0, 1.0))) == {}  # no step in the window


def test_samples_become_series() -> None:
    rows: list[dict[str, Any]] = [
        {"time_ns": 10**9, "busy_s": 1.0, "stolen_s": 0.0, "processes": {"server.a": [1.0, 50.0]}},
        {"time_ns": 3 * 10**9, "busy_s": 4.0, "stolen_s": 0.5, "processes": {"server.a": [2.0, 60.0], "new": [9, 1]},
         "device": {"npu0 HBM": 4.0}},
    ]  # fmt: skip
    found = list(observer.telemetry_series(rows, start_ns=2 * 10**9))
    assert found[0] == Sample("memory_mb.server.a", -1.0, 50.0)
    assert set(found[1:]) == {
        Sample("memory_mb.server.a", 1.0, 60.0),
        Sample("memory_mb.new", 1.0, 1),
        Sample("device.npu0 HBM", 1.0, 4.0),
        Sample("cpus.server.a", 1.0, 0.5),
        Sample("cpus.machine", 1.0, 1.5),
        Sample("cpus.stolen", 1.0, 0.25),
    }


def test_what_was_observed_is_among_the_flat_metrics() -> None:
    figures = Metrics()
    use = MachineUse(7.0, 2, 1.5, 0.1, 0.8, 0.9, 130.0, {"npu0 Aicore Usage Rate(%)": 37.0})
    metrics.observe(figures, 0.05, use, {"decode_steps": 3.0})
    row = metrics.flat(figures)
    named = ("generator_cpus", "server_cpus", "server_memory_mb_max", "machine_cpus", "stolen_cpus")
    assert [row[name] for name in named] == [0.05, 0.8, 130.0, 1.5, 0.1]
    assert row["server_decode_steps"] == 3.0
    assert row["device_npu0_aicore_usage_rate"] == 37.0
