"""Step figures of exactly the window: counts and means from two readings of /stats, the rest from its own steps."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from harness.measure import step_figures
from harness.measure.step_figures import figures
from harness.observe import steps
from harness.observe.steps import StepsPage
from tests.support.steps import table


def agent(num_decode: int, decode_s: float, preemptions: int = 0) -> dict[str, Any]:
    return {
        "preemptions": preemptions,
        "step_time_histogram": {
            "decode": {"cumulative_counts": [num_decode - 1, num_decode], "sum_s": decode_s},
            "prefill": {"cumulative_counts": [0, 0], "sum_s": 0.0},
        },
    }


def page(*agents: dict[str, Any]) -> dict[str, Any]:
    return {"engine": {"agents": list(agents)}}


def test_counts_and_means_are_differences_and_percentiles_the_slowest_agent_s() -> None:
    before = page(agent(100, 9.0), agent(50, 1.0))
    after = page(agent(300, 11.0, preemptions=3), agent(150, 2.0))
    decode = [(0.5, "decode", 1, 2, 5)] * 3
    both = pa.concat_tables([table(decode, agent=0, step_ms=1), table(decode, agent=1, step_ms=4)])
    assert figures(before, after, both) == {
        "decode_steps": 300,
        "decode_step_ms_mean": pytest.approx(10.0),
        "decode_step_ms_p50": 4.0,
        "decode_step_ms_p90": 4.0,
        "decode_step_ms_p99": 4.0,
        "preemptions": 3,
        "kv_use_max": 0.5,
        "queue_max": 2.0,
    }
    without = figures(before, after, None)
    assert set(without) == {"decode_steps", "decode_step_ms_mean", "preemptions"}


def columns(*step_ms: int) -> dict[str, Any]:
    """An agent of a /stats/steps page: decode steps that took so long, from the first on."""
    count = len(step_ms)
    sizes = {name: [1] * count for name in ("num_seqs", "num_tokens", "context_tokens", "num_waiting")}
    times = {"step_ns": [ms * 1_000_000 for ms in step_ms], "forward_ns": [1_000_000] * count}
    return {"first": 0, "kind": ["decode"] * count, "ended_ns": list(range(count)), **sizes, **times}


def test_steps_of_the_warm_up_do_not_count() -> None:
    """The server still keeps them, as its slowest: none of their times may reach a figure of the window."""
    before = page(agent(3, 27.0) | {"steps_total": 3})
    after = page(agent(7, 27.008))
    found = steps.of_window(before, StepsPage([columns(9000, 9000, 9000, 2, 2, 2, 2)], 0), 0)
    row = figures(before, after, found)
    assert (row["decode_steps"], row["decode_step_ms_mean"]) == (4, pytest.approx(2.0))
    assert [row[f"decode_step_ms_p{p}"] for p in (50, 90, 99)] == [2.0, 2.0, 2.0]
    assert row["decode_forward_ms_p99"] == 1.0


def test_a_server_that_says_nothing_gives_nothing() -> None:
    assert figures(None, page(), None) == {}
    assert figures(page(agent(5, 1.0)), page(agent(5, 1.0)), None) == {}  # no step in the window
    assert figures(None, None, table([])) == {}
    assert figures(None, None, table([(0.0, "decode", 1, 0, 0)]).drop_columns(["ended_s"])) == {}


def test_percentiles_are_of_every_time_that_the_steps_tell() -> None:
    times = {"kind": ["decode"] * 3, "step_ns": [1_000_000, 2_000_000, 3_000_000], "brewing_ns": [0, 4_000_000, 0]}
    assert step_figures.percentiles_ms(pa.table(times), (50, 100)) == {"step": [2.0, 3.0], "brewing": [0.0, 4.0]}
