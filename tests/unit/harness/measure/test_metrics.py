"""Metrics of a run small enough to be worked out by hand."""

import re

import pytest

from harness.config import ArrivalConfig, ArrivalProcess, SloConfig
from harness.load import arrivals
from harness.measure import metrics
from harness.observe.telemetry import MachineUse
from harness.records import Outcome, RequestRecord

MS = 1_000_000


def request(index: int, scheduled_ms: int, sent_ms: int, chunks_ms: list[int], tokens: list[int] | None = None):
    counts = tokens or [1] * len(chunks_ms)
    return RequestRecord(
        index,
        str(index),
        Outcome.finished,
        max_new_tokens=sum(counts),
        scheduled_ns=scheduled_ms * MS,
        sent_ns=sent_ms * MS,
        ended_ns=(chunks_ms[-1] + 1) * MS,
        prompt_tokens=10,
        output_tokens=sum(counts),
        chunk_times_ns=[t * MS for t in chunks_ms],
        chunk_tokens=counts,
        read_lags_ns=[MS],
    )


SCHEDULE = arrivals.schedule(ArrivalConfig(ArrivalProcess.constant, rate=10, duration_s=0.4))
RECORDS = [
    request(0, 0, 5, [50, 60, 70]),
    request(1, 100, 100, [150]),
    request(2, 200, 200, [300, 340], [1, 4]),
    RequestRecord(
        3, "3", Outcome.rejected, 3, scheduled_ns=300 * MS, sent_ns=300 * MS, ended_ns=310 * MS, read_lags_ns=[3 * MS]
    ),
]
RESULT = metrics.summarise(RECORDS, SCHEDULE, {"tight": SloConfig(60, 9.5), "loose": SloConfig(100, 10.5)})
ROW = metrics.flat(RESULT)


def test_counts_and_totals() -> None:
    assert RESULT.requests_total == 4 and ROW["requests_finished"] == 3 and ROW["requests_rejected"] == 1
    assert (RESULT.output_tokens_total, RESULT.prompt_tokens_total) == (9, 30)
    assert RESULT.total_time_s == pytest.approx(0.341)
    assert RESULT.arrival_floor_s == pytest.approx(0.3)
    assert RESULT.time_above_floor_s == pytest.approx(0.041)
    assert RESULT.requests_per_s == pytest.approx(3 / 0.341)
    assert RESULT.output_tokens_per_s == pytest.approx(9 / 0.341)
    assert RESULT.tokens_per_chunk == pytest.approx(9 / 6)


def test_latencies_count_from_scheduled_and_from_sent() -> None:
    assert ROW["ttft_ms_mean"] == pytest.approx((50 + 50 + 100) / 3)
    assert ROW["ttft_from_sent_ms_mean"] == pytest.approx((45 + 50 + 100) / 3)
    assert ROW["e2el_ms_p50"] == pytest.approx(70)
    assert ROW["e2el_from_sent_ms_p50"] == pytest.approx(65)
    assert ROW["tpot_ms_mean"] == pytest.approx((10 + 10) / 2)  # one token has no TPOT
    assert ROW["chunk_itl_ms_mean"] == pytest.approx((10 + 10 + 40) / 3)
    assert ROW["itl_ms_mean"] == pytest.approx(10)  # the gap of 40 ms is shared by the four tokens it brought


def test_client_figures() -> None:
    assert ROW["send_lateness_ms_max"] == pytest.approx(5)
    assert ROW["read_lag_ms_max"] == pytest.approx(3)
    assert RESULT.scheduled_rate == pytest.approx(10)
    assert RESULT.achieved_rate == pytest.approx(3 / 0.295)
    assert RESULT.rate_error == pytest.approx(3 / 0.295 / 10 - 1)


def test_steady_window_runs_from_first_end_to_last_send() -> None:
    assert RESULT.steady_window_s == pytest.approx(0.300 - 0.071)
    assert RESULT.steady_output_tokens_per_s == pytest.approx(1 / 0.229)  # the token at 150 ms only


def test_slos_count_every_request() -> None:
    assert RESULT.slo_attainment == {"tight": 1 / 4, "loose": 3 / 4}
    assert RESULT.goodput_requests_per_s["loose"] == pytest.approx(3 / 0.341)


def test_percentiles_are_shown_but_marked_where_unsupported() -> None:
    assert ROW["ttft_ms_p99"] is not None
    assert "ttft_ms_p50" in ROW["unsupported"]
    many = [request(i, i, i, [i + 50]) for i in range(70)]
    marked = metrics.flat(metrics.summarise(many, SCHEDULE))["unsupported"]
    assert "ttft_ms_p90" not in marked
    assert "ttft_ms_p99" in marked
    assert "tpot_ms_p50" not in marked  # no sample at all, so no figure to mark


def test_intervals_enclose_their_figure() -> None:
    low, high = RESULT.latencies["ttft_ms"].intervals[50]
    assert low <= ROW["ttft_ms_p50"] <= high


def test_flat_is_flat() -> None:
    assert ROW["slo_attainment_loose"] == 3 / 4
    assert ROW["ttft_ms_p50_ci95_low"] <= ROW["ttft_ms_p50"]
    assert not any(isinstance(value, dict | metrics.Distribution) for value in ROW.values())


def test_a_window_without_samples_has_the_same_names() -> None:
    """The names are what MLflow, reports and notebooks look for."""
    empty = metrics.flat(metrics.Metrics())
    assert {name for name in ROW if not re.search("ci95|slo|goodput", name)} == set(empty)
    for latency in ("ttft", "ttft_from_sent", "tpot", "itl", "chunk_itl", "e2el", "e2el_from_sent"):
        assert [empty[f"{latency}_ms_{statistic}"] for statistic in ("mean", "p50", "p90", "p99")] == [None] * 4
    assert [empty[f"{name}_ms_{end}"] for name in ("send_lateness", "read_lag") for end in ("p50", "p99", "max")] == [
        None
    ] * 6


def test_drift_compares_the_last_third_with_the_first() -> None:
    records = [request(i, i * 10, i * 10, [i * 10 + (100 if i < 5 else 50)]) for i in range(15)]
    assert metrics.summarise(records, SCHEDULE).drift_ttft_ratio == pytest.approx(0.5)


def test_no_finished_request_gives_no_latency() -> None:
    nothing = metrics.summarise([RECORDS[3]], SCHEDULE)
    assert nothing.latencies["ttft_ms"].p(50) is None
    assert (nothing.requests[Outcome.finished], nothing.output_tokens_per_s) == (0, 0)
    empty = metrics.summarise([RequestRecord(0, "0", Outcome.lost, 3)], SCHEDULE)
    assert (empty.requests[Outcome.lost], empty.total_time_s, empty.requests_per_s) == (1, None, None)


def test_what_was_observed_is_among_the_flat_metrics() -> None:
    figures = metrics.Metrics()
    use = MachineUse(
        machine_cpus=1.5, stolen_cpus=0.1, server_cpus=0.8, server_memory_mb_max=130.0,
        device={"npu0 Aicore Usage Rate(%)": 37.0},
    )  # fmt: skip
    metrics.observe(figures, 0.05, use, {"decode_steps": 3.0})
    row = metrics.flat(figures)
    named = ("generator_cpus", "server_cpus", "server_memory_mb_max", "machine_cpus", "stolen_cpus")
    assert [row[name] for name in named] == [0.05, 0.8, 130.0, 1.5, 0.1]
    assert row["server_decode_steps"] == 3.0
    assert row["device_npu0_aicore_usage_rate"] == 37.0
