"""Which rate to try next: the highest rate that meets an SLO, or a sweep up to saturation. Pure; it sends nothing.

while (rate := search.next_rate()) is not None:
    search.add(rate, metrics of a timed window at that rate)
search.result()
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from harness.config import SearchConfig, SearchMode
from harness.measure.metrics import Metrics

_CONFIDENCE = 0.95
_MAX_REPEATS = 3  # windows at one rate before an undecided answer is taken as it stands
_GROWTH = 1.5  # of the rate, while no limit is known
_SATURATED = 1.05  # throughput must grow by this factor, or the server is full


class Answer(StrEnum):
    """Whether a rate meets the SLO."""

    meets = "meets"
    fails = "fails"
    undecided = "undecided"


@dataclass
class Step:
    """All windows measured at one rate, added up."""

    rate: float
    num_good: int = 0  # requests that met the SLO
    num_requests: int = 0
    num_windows: int = 0
    output_tokens_per_s: float = 0.0  # of the last window


@dataclass
class SearchResult:
    """rate: the highest that is known to meet the SLO (or where throughput was highest); None if none did.

    upper: the lowest rate known to fail; None if none failed. sure: whether every answer was beyond chance.
    """

    rate: float | None
    upper: float | None
    sure: bool
    steps: list[Step]
    text: str

    def as_metrics(self) -> dict[str, float | bool | str]:
        """Flat figures of what was found."""
        known = {"search_rate": self.rate, "search_upper_rate": self.upper}
        found = {name: value for name, value in known.items() if value is not None}
        return {**found, "search_sure": self.sure, "search_windows": self.num_windows, "search_text": self.text}

    @property
    def num_windows(self) -> int:
        """Windows measured in all."""
        return sum(step.num_windows for step in self.steps)


class Search(Protocol):
    """One way to choose rates."""

    def next_rate(self) -> float | None:
        """The rate to measure next, or None when the search is over."""
        ...

    def add(self, rate: float, metrics: Metrics) -> None:
        """Tell what a window at this rate gave."""
        ...

    def result(self) -> SearchResult:
        """What is known so far."""
        ...


def create(config: SearchConfig) -> Search:
    """The search that the configuration asks for (mode must not be off)."""
    return SaturationSearch(config) if config.mode is SearchMode.saturation else SloSearch(config)


class SloSearch:
    """Bisection on the rate. A rate that meets or fails only by chance (`decide`) is measured again."""

    def __init__(self, config: SearchConfig) -> None:
        self._config = config
        self._steps: dict[float, Step] = {}
        self._num_windows = 0

    def next_rate(self) -> float | None:
        """Grow until a rate fails, then halve the gap between the last that met and the first that failed."""
        if self._num_windows >= self._config.max_windows:
            return None
        if not self._steps:
            return self._config.start_rate
        undecided = [step.rate for step in self._steps.values() if self._answer(step) is Answer.undecided]
        return undecided[0] if undecided else self._new_rate(*self._bounds())

    def _new_rate(self, low: float | None, high: float | None) -> float | None:
        if high is None:
            rate = (low or self._config.start_rate) * _GROWTH
        elif low is None:
            rate = high / _GROWTH
            if rate < self._config.min_rate:
                return None
        elif high / low > 1 + self._config.tolerance:
            rate = math.sqrt(low * high)
        else:
            return None
        return round(rate, 4)

    def add(self, rate: float, metrics: Metrics) -> None:
        """Add up what the windows at a rate gave."""
        step = self._steps.setdefault(rate, Step(rate))
        share = metrics.slo_attainment[self._config.slo]
        step.num_good += round(share * metrics.requests_total)
        step.num_requests += metrics.requests_total
        step.num_windows += 1
        step.output_tokens_per_s = metrics.output_tokens_per_s or 0.0
        self._num_windows += 1

    def result(self) -> SearchResult:
        """The bracket found so far."""
        low, high = self._bounds()
        unsure = [s for s in self._steps.values() if decide(s, self._config.attainment) is Answer.undecided]
        share = f"{self._config.attainment:.0%} of the requests meet SLO {self._config.slo}"
        if low is None:
            text = f"no rate tried is one at which {share}"
        else:
            beyond = "no higher rate was tried" if high is None else f"not at {high:g}"
            text = f"{share} at {low:g} requests/s, {beyond}"
        text += "; some answers may be chance (more requests per window would tell)" if unsure else ""
        return SearchResult(low, high, not unsure, sorted(self._steps.values(), key=lambda s: s.rate), text)

    def _answer(self, step: Step) -> Answer:
        answer = decide(step, self._config.attainment)
        if answer is not Answer.undecided:
            return answer
        # Few requests, all good, cannot prove 99 %; more of the same would hardly tell more.
        if step.num_windows >= _MAX_REPEATS or step.num_good == step.num_requests:
            return Answer.meets if step.num_good >= self._config.attainment * step.num_requests else Answer.fails
        return answer

    def _bounds(self) -> tuple[float | None, float | None]:
        """(highest rate met below every failed one, lowest rate failed)."""
        failed = [step.rate for step in self._steps.values() if self._answer(step) is Answer.fails]
        high = min(failed, default=None)
        met = [
            step.rate
            for step in self._steps.values()
            if self._answer(step) is Answer.meets and (high is None or step.rate < high)
        ]
        return max(met, default=None), high


class SaturationSearch:
    """Raise the rate by a constant factor until throughput grows by less than 5 %, twice in a row."""

    def __init__(self, config: SearchConfig) -> None:
        self._config = config
        self._steps: list[Step] = []

    def next_rate(self) -> float | None:
        """The next higher rate, until the server is full."""
        if not self._steps:
            return self._config.start_rate
        if len(self._steps) >= self._config.max_windows or self._num_flat() >= 2:
            return None
        return round(self._steps[-1].rate * _GROWTH, 4)

    def add(self, rate: float, metrics: Metrics) -> None:
        """Note the throughput at a rate."""
        tokens = metrics.steady_output_tokens_per_s or metrics.output_tokens_per_s or 0.0
        self._steps.append(Step(rate, num_requests=metrics.requests_total, num_windows=1, output_tokens_per_s=tokens))

    def result(self) -> SearchResult:
        """The lowest rate within 5 % of the highest throughput seen."""
        if not self._steps:
            return SearchResult(None, None, False, [], "no rate was measured")
        best = max(step.output_tokens_per_s for step in self._steps)
        knee = next(step for step in self._steps if step.output_tokens_per_s * _SATURATED >= best)
        full = self._num_flat() >= 2
        text = f"throughput reaches {best:.1f} output tokens/s; {knee.rate:g} requests/s is enough for it"
        if not full:
            text = f"not saturated at {self._steps[-1].rate:g} requests/s ({best:.1f} output tokens/s)"
        return SearchResult(knee.rate, None, full, self._steps, text)

    def _num_flat(self) -> int:
        flat, best = 0, 0.0
        for step in self._steps:
            flat = 0 if step.output_tokens_per_s > best * _SATURATED else flat + 1
            best = max(best, step.output_tokens_per_s)
        return flat


def decide(step: Step, attainment: float) -> Answer:
    """Whether the share of good requests is beyond chance above or below `attainment`.

    Clopper-Pearson interval (exact binomial) at 95 %; scipy.stats.binomtest(...).proportion_ci.
    """
    from scipy import stats  # noqa: PLC0415  the import takes two seconds: only where something is searched for

    if not step.num_requests:
        return Answer.undecided
    interval = stats.binomtest(step.num_good, step.num_requests).proportion_ci(_CONFIDENCE, method="exact")
    if interval.low >= attainment:
        return Answer.meets
    return Answer.fails if interval.high < attainment else Answer.undecided
