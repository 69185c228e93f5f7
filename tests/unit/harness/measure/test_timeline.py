"""Phases and series, against figures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.measure import timeline
from harness.records import Outcome, RequestRecord
from tests.support.report import request

SECOND = 1_000_000_000


def record(sent_s: float, first_s: float | None, ended_s: float, tokens: int = 1) -> RequestRecord:
    times = [] if first_s is None else [round(first_s * SECOND)] * tokens
    return RequestRecord(
        0, "p", Outcome.finished, tokens, 0, round(sent_s * SECOND), ended_ns=round(ended_s * SECOND),
        chunk_times_ns=times, chunk_tokens=[1] * len(times),
    )  # fmt: skip


def test_phases_follow_the_server_s_queue_time_and_the_client_s_clock() -> None:
    (phase,) = timeline.phases([request(0, 2.0)])
    assert phase.sent_s == pytest.approx(0.0001)
    assert phase.prefill_s == pytest.approx(0.0051)
    assert phase.first_token_s == pytest.approx(0.015)
    assert phase.ended_s == pytest.approx(0.116)


def test_a_request_that_was_never_sent_has_no_phases() -> None:
    assert timeline.phases([RequestRecord(0, "p", Outcome.cancelled, 4, 0)]) == []
    assert not len(timeline.series([]).end_s)


def test_mean_numbers_are_overlaps_divided_by_the_interval() -> None:
    found = timeline.series([record(0.0, 0.5, 2.0), record(0.5, 1.5, 2.0, tokens=3)], every_s=1.0)
    assert found.end_s.tolist() == [1.0, 2.0]
    assert found.values["requests_waiting"].tolist() == pytest.approx([1.0, 0.5])
    assert found.values["requests_decoding"].tolist() == pytest.approx([0.5, 1.5])
    assert found.values["output_tokens_per_s"].tolist() == [1.0, 3.0]


@given(st.lists(st.tuples(*[st.floats(0, 50)] * 3).map(sorted), min_size=1), st.sampled_from([0.5, 1.0, 7.0]))
def test_nothing_is_lost_between_intervals(spans: list[list[float]], every_s: float) -> None:
    records = [record(*span) for span in spans]
    found = timeline.series(records, every_s)
    if not len(found.end_s):
        return
    assert found.values["output_tokens_per_s"].sum() * every_s == pytest.approx(len(records))
    whole = sum(round(end * SECOND) / SECOND - round(sent * SECOND) / SECOND for sent, _, end in spans)
    assert found.values["requests_in_flight"].sum() * every_s == pytest.approx(whole, abs=1e-5)
    assert np.all(found.values["requests_in_flight"] > -1e-6)
    assert len(timeline.series(records).end_s) <= timeline.MAX_POINTS + 1
