"""KV use, queue and batch over time: gauges weighted by time, the batch by how long its steps took."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.measure import window_series
from harness.observe import series_file, step_series, steps
from harness.run_folder import SERIES, STEPS
from tests.support.report import request
from tests.support.steps import table


def test_a_gauge_holds_until_the_next_step() -> None:
    found = step_series.series(table([(0.5, "prefill", 1, 4, 10), (1.5, "decode", 1, 0, 5)]), 1.0, 3.0)
    assert found is not None
    assert found.kv_use.tolist() == pytest.approx([0.5, 0.75, 0.5])
    assert found.requests_queued.tolist() == pytest.approx([2.0, 2.0, 0.0])


def test_a_batch_is_weighted_by_the_time_of_its_steps_and_prefill_is_none() -> None:
    rows = [(0.1, "decode", 8, 0, 1), (0.2, "prefill", 99, 0, 1), (0.9, "decode", 2, 0, 1), (2.5, "decode", 3, 0, 0)]
    short, long = table(rows[:2], step_ms=100), table(rows[2:], step_ms=300)
    found = step_series.series(pa.concat_tables([short, long]), 1.0, 3.0)
    assert found is not None
    assert found.decode_batch_size[0] == pytest.approx((8 * 100 + 2 * 300) / 400)
    assert np.isnan(found.decode_batch_size[1]) and found.decode_batch_size[2] == 3


def test_agents_are_added_up() -> None:
    both = pa.concat_tables([table([(0.0, "decode", 1, 1, 10)], 0), table([(0.0, "decode", 1, 2, 0)], 1, total=30)])
    found = step_series.series(both, 1.0, 1.0)
    assert found is not None
    assert found.kv_use.tolist() == [0.25] and found.requests_queued.tolist() == [3] and found.num_blocks == 40
    assert step_series.figures(both) == {"kv_use_max": 1.0, "queue_max": 2.0}


gaps_s = st.floats(min_value=1e-3, max_value=2.0)


@given(st.lists(st.tuples(gaps_s, st.integers(0, 10)), min_size=1, max_size=30), st.floats(0.05, 3.0))
def test_no_interval_leaves_its_gauge_s_range_and_their_sum_is_the_area(
    found: list[tuple[float, int]], every_s: float
) -> None:
    ends = np.cumsum([gap for gap, _ in found])
    used = np.array([blocks for _, blocks in found])
    rows = [(float(end), "decode", 1, 0, int(blocks)) for end, blocks in zip(ends, used, strict=True)]
    series_found = step_series.series(table(rows), every_s, float(ends[-1]))
    assert series_found is not None
    use = series_found.kv_use
    assert (use >= -1e-9).all() and (use <= used.max() / 10 + 1e-9).all()
    held_s = np.diff(np.append(ends, series_found.end_s[-1]))
    assert use.sum() * every_s == pytest.approx((held_s * used).sum() / 10, abs=1e-6)


def test_steps_without_times_tell_nothing() -> None:
    old = table([(0.0, "decode", 1, 0, 0)]).drop_columns(["ended_s"])
    assert step_series.series(old, 1.0, 1.0) is None and step_series.figures(old) == {}
    assert step_series.series(table([]), 1.0, 1.0) is None and step_series.figures(table([])) == {}


def test_they_are_among_the_tracked_series(tmp_path: Path) -> None:
    steps.write(tmp_path / STEPS, table([(0.0, "decode", 2, 1, 5), (9.0, "decode", 2, 0, 0)]))
    assert window_series.write(tmp_path, [request(n, 10.0) for n in range(20)], tmp_path / "none")
    found = series_file.read(tmp_path / SERIES)
    assert ("series.kv_use", 1.0, 0.5) in found and ("series.requests_queued", 1.0, 1.0) in found
    assert [sample.value for sample in found if sample.metric == "series.decode_batch_size"] == [2.0]


def test_a_file_that_is_no_table_is_no_reason_to_fail(tmp_path: Path) -> None:
    (tmp_path / STEPS).write_bytes(b"not parquet")
    assert window_series.write(tmp_path, [request(0, 1.0)], tmp_path / "none")
    assert not [row for row in series_file.read(tmp_path / SERIES) if row.metric == "series.kv_use"]
