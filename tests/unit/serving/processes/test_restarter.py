"""Restarts are bounded per name, come after a growing pause, and never after halt()."""

from __future__ import annotations

import queue

import pytest

from serving.processes import restarter
from serving.processes.restarter import MAX_BACKOFF_S, Restarter, backoff_s


def test_each_name_has_its_own_number_of_restarts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarter, "FIRST_BACKOFF_S", 0.0)
    started: queue.SimpleQueue[str] = queue.SimpleQueue()
    some = Restarter(2, started.put)
    try:
        assert [some.accept(name) for name in ("a", "a", "b", "a", "b", "b")] == [True, True, True, False, True, False]
        assert [started.get(timeout=5) for _ in range(4)] == ["a", "a", "b", "b"]
    finally:
        some.halt()
        some.close()
    assert started.empty()


def test_the_pause_doubles_up_to_a_limit() -> None:
    assert [backoff_s(attempt) for attempt in (1, 2, 3)] == [0.25, 0.5, 1.0]
    assert backoff_s(1_000_000) == MAX_BACKOFF_S


def test_nothing_is_started_after_halt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarter, "FIRST_BACKOFF_S", 60.0)
    started: list[str] = []
    some = Restarter(1, started.append)
    assert some.accept("a")  # its pause has begun
    some.halt()
    assert not some.accept("b")
    some.close()  # returns at once although the pause is not over
    assert started == []


def test_no_restarts_unless_asked_for() -> None:
    some = Restarter(0, lambda name: None)
    assert not some.accept("a")
    some.halt()
    some.close()
