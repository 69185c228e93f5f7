"""Phases of requests, against figures worked out by hand."""

from __future__ import annotations

import pytest

from harness.measure import timeline
from harness.records import Outcome, RequestRecord
from tests.support.report import request

SECOND = 1_000_000_000


def test_phases_follow_the_server_s_queue_time_and_the_client_s_clock() -> None:
    (phase,) = timeline.phases([request(0, 2.0)])
    assert phase.sent_s == pytest.approx(0.0001)
    assert phase.prefill_s == pytest.approx(0.0051)
    assert phase.first_token_s == pytest.approx(0.015)
    assert phase.ended_s == pytest.approx(0.116)


def test_a_request_that_was_never_sent_has_no_phases() -> None:
    assert timeline.phases([RequestRecord(0, "p", Outcome.cancelled, 4, scheduled_ns=0)]) == []
    assert timeline.last_s([RequestRecord(0, "p", Outcome.cancelled, 4, scheduled_ns=0, ended_ns=SECOND)]) == 0
