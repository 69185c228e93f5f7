"""Step timings: the ring keeps the newest, percentiles per kind, histograms of all."""

from __future__ import annotations

from serving.engine.step_ring import BUCKETS_S, StepRing, StepTimes
from serving.link.step import StepKind

CAPACITY = 64


def times(kind: StepKind, step_ns: int, num_seqs: int = 2) -> StepTimes:
    return StepTimes(
        kind=kind, ended_ns=10**12 + step_ns, num_seqs=num_seqs, num_tokens=7, context_tokens=70, num_waiting=3,
        kv_blocks_used=20, step_ns=step_ns, plan_ns=1000, link_out_ns=2000, agent_pre_ns=3000, forward_ns=4000,
        sample_ns=5000, link_back_ns=6000, publish_ns=7000, device_gap_ns=8000,
    )  # fmt: skip


def test_percentiles_are_per_kind_and_in_microseconds():
    ring = StepRing(128)
    for step_ns in range(1_000, 101_000, 1_000):
        ring.add(times(StepKind.decode, step_ns))
    ring.add(times(StepKind.prefill, 9_000_000, num_seqs=5))
    summary = ring.summary()
    assert summary["decode"]["count"] == 100
    assert summary["decode"]["step_us"] == {"p50": 50.5, "p90": 90.1, "p99": 99.0, "p100": 100.0}
    assert summary["decode"]["link_back_us"] == {"p50": 6.0, "p90": 6.0, "p99": 6.0, "p100": 6.0}
    assert summary["prefill"]["mean_num_seqs"] == 5.0 and summary["prefill"]["mean_num_tokens"] == 7.0


def test_the_ring_forgets_the_oldest_and_histograms_do_not():
    ring = StepRing(CAPACITY)
    ring.add(times(StepKind.decode, 10**12))
    for _ in range(CAPACITY):
        ring.add(times(StepKind.decode, 700_000))
    assert ring.summary()["decode"]["step_us"]["p100"] == 700.0
    histogram = ring.histogram()["decode"]
    assert histogram["upper_bounds_s"] == list(BUCKETS_S)
    assert histogram["cumulative_counts"] == [0] + [CAPACITY] * (len(BUCKETS_S) - 1) + [CAPACITY + 1]
    assert abs(histogram["sum_s"] - 1000 - CAPACITY * 0.0007) < 1e-6


def test_no_steps_no_summary():
    assert StepRing(CAPACITY).summary() == {}


def test_rows_are_the_newest_steps_in_order():
    ring = StepRing(4)
    for step_ns in (1, 2, 3):
        ring.add(times(StepKind.decode, step_ns))
    assert ring.rows()["first"] == 0 and ring.rows()["step_ns"] == [1, 2, 3]
    for step_ns in (4, 5):
        ring.add(times(StepKind.prefill, step_ns, num_seqs=step_ns))
    rows = ring.rows()
    assert rows["first"] == 1
    assert rows["step_ns"] == [2, 3, 4, 5]
    assert rows["kind"] == ["decode", "decode", "prefill", "prefill"]
    assert rows["num_seqs"] == [2, 2, 4, 5]
    assert rows["ended_ns"] == [10**12 + step_ns for step_ns in (2, 3, 4, 5)]
    assert rows["num_waiting"] == [3] * 4 and rows["kv_blocks_used"] == [20] * 4
    assert (
        rows["context_tokens"] == [70] * 4 and rows["forward_ns"] == [4000] * 4 and rows["device_gap_ns"] == [8000] * 4
    )
    assert {len(column) for name, column in rows.items() if name != "first"} == {4}
