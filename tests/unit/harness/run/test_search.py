"""The searches find a known limit, say how sure they are, and end."""

import numpy as np
import pytest

from harness.config import SearchConfig, SearchMode
from harness.measure.metrics import Metrics
from harness.run import search
from harness.run.search import Answer, Step


def run(config: SearchConfig, share_at, num_requests: int = 500, tokens_at=lambda rate: rate) -> search.SearchResult:
    chosen = search.create(config)
    rng = np.random.default_rng(0)
    for _ in range(100):
        rate = chosen.next_rate()
        if rate is None:
            return chosen.result()
        good = rng.binomial(num_requests, share_at(rate)) / num_requests
        tokens = tokens_at(rate)
        chosen.add(
            rate, Metrics(requests_total=num_requests, slo_attainment={"server": good}, output_tokens_per_s=tokens)
        )
    raise AssertionError("the search does not end")


@pytest.mark.parametrize("limit", [0.3, 1.0, 7.3, 40.0])
def test_finds_the_limit_within_the_tolerance(limit: float) -> None:
    found = run(SearchConfig(SearchMode.slo, tolerance=0.05, max_windows=40), lambda r: 1.0 if r <= limit else 0.5)
    assert found.rate is not None and found.upper is not None
    assert found.rate <= limit < found.upper
    assert found.upper / found.rate <= 1.05
    assert found.sure
    assert f"at {found.rate:g} requests/s, not at {found.upper:g}" in found.text


def test_an_answer_that_may_be_chance_is_measured_again_and_said_to_be_unsure() -> None:
    found = run(SearchConfig(SearchMode.slo, attainment=0.9), lambda r: 0.9 if r < 2 else 0.1, num_requests=30)
    assert not found.sure
    assert "may be chance" in found.text
    assert max(step.num_windows for step in found.steps) == 3


def test_gives_up_below_the_least_rate_and_at_the_most_windows() -> None:
    assert run(SearchConfig(SearchMode.slo, min_rate=0.5), lambda r: 0.0).rate is None
    endless = run(SearchConfig(SearchMode.slo, max_windows=5), lambda r: 1.0)
    assert (len(endless.steps), endless.upper) == (5, None)
    assert "no higher rate was tried" in endless.text


def test_saturation_finds_the_knee() -> None:
    config = SearchConfig(SearchMode.saturation, start_rate=1)
    found = run(config, lambda r: 1.0, tokens_at=lambda r: min(50 * r, 400.0))
    assert found.sure
    assert found.rate is not None
    assert 8 / 1.05 <= found.rate < 8 * 1.5  # the first rate of the sweep that reaches 400 tokens/s
    unsaturated = run(SearchConfig(SearchMode.saturation, max_windows=3), lambda r: 1.0, tokens_at=lambda r: 50 * r)
    assert not unsaturated.sure
    assert "not saturated at 2.25 requests/s" in unsaturated.text


@pytest.mark.parametrize(
    ("good", "total", "answer"),
    [
        (0, 0, Answer.undecided),
        (60, 60, Answer.undecided),  # 60 of 60 do not prove 99 %
        (400, 400, Answer.meets),
        (395, 400, Answer.undecided),
        (380, 400, Answer.fails),
    ],
)
def test_decide_needs_evidence(good: int, total: int, answer: Answer) -> None:
    assert search.decide(Step(1.0, good, total), 0.99) is answer
