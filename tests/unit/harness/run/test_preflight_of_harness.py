"""What is wrong with a load is said before anything starts, one line per mistake."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.config import ArrivalProcess, HarnessConfig, SearchMode
from harness.run.preflight import plan


def problems(config: HarnessConfig) -> list[str]:
    work, found = plan(config, None)
    assert found or work
    return found


def config() -> HarnessConfig:
    made = HarnessConfig()
    made.workload.search.mode = SearchMode.slo
    return made


def test_the_default_and_a_search_are_well() -> None:
    assert problems(HarnessConfig()) == []
    assert problems(config()) == []


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda w: setattr(w.search, "slo", "x"), "workload.search.slo=x: must be one of workload.slos: server, inter"),
        (lambda w: setattr(w, "sweep_rates", [1.0, 2.0]), "workload.sweep_rates=[1.0, 2.0]: must be empty"),
        (lambda w: setattr(w.search, "attainment", 2.0), "workload.search.attainment=2.0: must be above 0 and at most"),
        (lambda w: setattr(w.search, "start_rate", 0.0), "workload.search.start_rate=0.0: must be a number of"),
        (
            lambda w: setattr(w.search, "start_rate", 1e9),
            "workload.search.start_rate=1000000000.0, duration_s=30.0: make",
        ),
        (lambda w: setattr(w.search, "max_windows", 0), "workload.search.max_windows=0: must be at least 1"),
        (
            lambda w: setattr(w.arrivals, "process", ArrivalProcess.closed),
            "workload.arrivals.process=closed: has no rate to search for",
        ),
    ],
)
def test_a_bad_search_is_one_line(change: Callable[..., None], line: str) -> None:
    made = config()
    change(made.workload)
    found = problems(made)
    assert any(text.startswith(line) for text in found), found
    assert not any("\n" in text for text in found)
