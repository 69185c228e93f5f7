"""The course of a window: means per interval of requests, of the server's gauges and batch, and of the machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import report, time_series
from harness.measure import timeline, window_series
from harness.observe import steps
from harness.records import Outcome, RequestRecord
from harness.run_folder import SERIES, STEPS
from harness.time_series import TimeSeries, Values
from tests.support.report import point, request, run
from tests.support.steps import table

SECOND = 1_000_000_000


def values(series: list[TimeSeries]) -> dict[str, Values]:
    return {one.name: one.values for one in series}


def written(folder: Path) -> dict[str, list[tuple[float, float]]]:
    """(time, value) of each series in the file."""
    found = time_series.read(folder / SERIES)
    return {one.name: list(zip(one.times_s.tolist(), one.values.tolist(), strict=True)) for one in found}


def record(sent_s: float, first_s: float | None, ended_s: float, tokens: int = 1) -> RequestRecord:
    times = [] if first_s is None else [round(first_s * SECOND)] * tokens
    return RequestRecord(
        0, "p", Outcome.finished, tokens, scheduled_ns=0, sent_ns=round(sent_s * SECOND),
        ended_ns=round(ended_s * SECOND), chunk_times_ns=times, chunk_tokens=[1] * len(times),
    )  # fmt: skip


def test_mean_numbers_are_overlaps_divided_by_the_interval() -> None:
    found = window_series.of_requests([record(0.0, 0.5, 2.0), record(0.5, 1.5, 2.0, tokens=3)], every_s=1.0)
    assert all(one.times_s.tolist() == [1.0, 2.0] for one in found)
    of_name = values(found)
    assert of_name["requests_waiting"].tolist() == pytest.approx([1.0, 0.5])
    assert of_name["requests_decoding"].tolist() == pytest.approx([0.5, 1.5])
    assert of_name["output_tokens_per_s"].tolist() == [1.0, 3.0]
    assert {one.name: one.unit for one in found}["output_tokens_per_s"] == "tokens/s"


def test_nothing_sent_has_no_course() -> None:
    assert window_series.of_requests([], 1.0) == []
    assert (
        window_series.of_requests([RequestRecord(0, "p", Outcome.cancelled, 4, scheduled_ns=0, ended_ns=SECOND)], 1.0)
        == []
    )


@given(st.lists(st.tuples(*[st.floats(0, 50)] * 3).map(sorted), min_size=1), st.sampled_from([0.5, 1.0, 7.0]))
def test_nothing_is_lost_between_intervals(spans: list[list[float]], every_s: float) -> None:
    records = [record(*span) for span in spans]
    found = values(window_series.of_requests(records, every_s))
    if not found:
        return
    assert found["output_tokens_per_s"].sum() * every_s == pytest.approx(len(records))
    whole = sum(round(end * SECOND) / SECOND - round(sent * SECOND) / SECOND for sent, _, end in spans)
    assert found["requests_in_flight"].sum() * every_s == pytest.approx(whole, abs=1e-5)
    assert np.all(found["requests_in_flight"] > -1e-6)
    drawn = window_series.of_requests(records, window_series.drawn_interval_s(records))
    assert len(drawn[0].values) <= window_series.MAX_DRAWN + 1


def test_a_gauge_holds_until_the_next_step() -> None:
    found = values(window_series.of_steps(table([(0.5, "prefill", 1, 4, 10), (1.5, "decode", 1, 0, 5)]), 1.0, 3.0))
    assert found["kv_use"].tolist() == pytest.approx([0.5, 0.75, 0.5])
    assert found["requests_queued"].tolist() == pytest.approx([2.0, 2.0, 0.0])


def test_a_batch_is_weighted_by_the_time_of_its_steps_and_prefill_is_none() -> None:
    rows = [(0.1, "decode", 8, 0, 1), (0.2, "prefill", 99, 0, 1), (0.9, "decode", 2, 0, 1), (2.5, "decode", 3, 0, 0)]
    short, long = table(rows[:2], step_ms=100), table(rows[2:], step_ms=300)
    found = window_series.of_steps(pa.concat_tables([short, long]), 1.0, 3.0)
    batch = {one.name: one for one in found}["decode_batch_size"]
    assert batch.times_s.tolist() == [1.0, 3.0]  # no decode step ended in the second between
    assert batch.values.tolist() == pytest.approx([(8 * 100 + 2 * 300) / 400, 3])


def test_agents_are_added_up() -> None:
    both = pa.concat_tables([table([(0.0, "decode", 1, 1, 10)], 0), table([(0.0, "decode", 1, 2, 0)], 1, total=30)])
    found = values(window_series.of_steps(both, 1.0, 1.0))
    assert found["kv_use"].tolist() == [0.25] and found["requests_queued"].tolist() == [3]
    assert steps.num_blocks(both) == 40


gaps_s = st.floats(min_value=1e-3, max_value=2.0)


@given(st.lists(st.tuples(gaps_s, st.integers(0, 10)), min_size=1, max_size=30), st.floats(0.05, 3.0))
def test_no_interval_leaves_its_gauge_s_range_and_their_sum_is_the_area(
    found: list[tuple[float, int]], every_s: float
) -> None:
    ends = np.cumsum([gap for gap, _ in found])
    used = np.array([blocks for _, blocks in found])
    rows = [(float(end), "decode", 1, 0, int(blocks)) for end, blocks in zip(ends, used, strict=True)]
    (kv_use, *_) = window_series.of_steps(table(rows), every_s, float(ends[-1]))
    use = kv_use.values
    assert (use >= -1e-9).all() and (use <= used.max() / 10 + 1e-9).all()
    held_s = np.diff(np.append(ends, kv_use.times_s[-1]))
    assert use.sum() * every_s == pytest.approx((held_s * used).sum() / 10, abs=1e-6)


def test_steps_without_times_tell_nothing() -> None:
    old = table([(0.0, "decode", 1, 0, 0)]).drop_columns(["ended_s"])
    for none in (old, table([]), None):
        assert window_series.of_steps(none, 1.0, 1.0) == []


def test_they_are_among_the_tracked_series(tmp_path: Path) -> None:
    steps.write(tmp_path / STEPS, table([(0.0, "decode", 2, 1, 5), (9.0, "decode", 2, 0, 0)]))
    assert window_series.write(tmp_path, [request(n, 10.0) for n in range(20)], tmp_path / "none")
    found = written(tmp_path)
    assert (1.0, 0.5) in found["series.kv_use"] and (1.0, 1.0) in found["series.requests_queued"]
    assert [value for _, value in found["series.decode_batch_size"]] == [2.0]


def test_a_file_that_is_no_table_is_no_reason_to_fail(tmp_path: Path) -> None:
    (tmp_path / STEPS).write_bytes(b"not parquet")
    assert window_series.write(tmp_path, [request(0, 1.0)], tmp_path / "none")
    assert "series.kv_use" not in written(tmp_path)


def test_requests_and_machine_share_a_grid_of_seconds(tmp_path: Path) -> None:
    cpus = TimeSeries("cpus.machine", "CPUs", np.array([-1.0, 0.2, 0.7, 1.5]), np.array([9.0, 1.0, 2.0, 4.0]))
    time_series.write(tmp_path / "telemetry.parquet", [cpus])
    records = [request(n, 10.0) for n in range(20)]
    assert window_series.write(tmp_path, records, tmp_path / "telemetry.parquet")
    found = written(tmp_path)
    assert found["system/cpus.machine"] == [(1.0, 1.5), (2.0, 4.0)]
    assert sum(value for _, value in found["series.output_tokens_per_s"]) == 20 * 6
    assert {time_s for one in found.values() for time_s, _ in one} == {1.0, 2.0, 3.0}
    assert timeline.last_s(records) > 2


def test_ten_minutes_stay_within_the_number_of_points(tmp_path: Path) -> None:
    assert window_series.write(tmp_path, [request(n, 1.0) for n in range(600)], tmp_path / "none")
    found = written(tmp_path)
    assert len(found) == 4 and all(len(one) <= window_series.MAX_POINTS + 1 for one in found.values())


@pytest.mark.parametrize("content", [None, b"not parquet"])
def test_nothing_to_tell_writes_nothing(tmp_path: Path, content: bytes | None) -> None:
    if content:
        (tmp_path / "telemetry.parquet").write_bytes(content)
    assert not window_series.write(tmp_path, [], tmp_path / "telemetry.parquet")
    assert not (tmp_path / SERIES).exists()


def test_a_note_tells_the_verdict_first_and_every_point() -> None:
    text = report.note(run(point(10.0), point(20.0, failed=1), passed=False))
    assert text.startswith("## FAIL – smoke: tiny on cpu\n\n- ✗ of 20 requests 1 failed")
    assert text.count("| TTFT |") == 2 and "20 = 19 finished + 0 rejected + 1 failed" in text
