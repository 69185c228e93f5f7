"""Differences between two runs, metric by metric, with confidence intervals. Pure: records in, rows out."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from harness.measure import bootstrap, samples
from harness.measure.percentiles import supports
from harness.records import Outcome, RequestRecord
from harness.run_folder import StoredPoint

MIN_CHANGE = 0.02  # what two runs of the same thing on one machine easily differ by
_ALL_ROWS_LEVEL = 0.95
_BLOCKS = 20  # the steady window is cut into so many pieces to see how throughput varies
_PERCENTILES = (50, 90, 99)
_LATENCIES = ("ttft_ms", "tpot_ms", "itl_ms", "e2el_ms")


class Verdict(StrEnum):
    """Of B against A."""

    faster = "faster"
    slower = "slower"
    no_evidence = "no evidence"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One metric. change = B / A - 1; [low, high] is its interval; see `compare` for its level."""

    name: str
    a: float
    b: float
    change: float
    low: float
    high: float
    verdict: Verdict


@dataclass(frozen=True)
class _Family:
    """Metrics worked out from the same samples: `statistic` returns one value per name."""

    names: list[str]
    groups: Callable[[list[RequestRecord]], list[NDArray[np.float64]]]
    statistic: bootstrap.Statistic
    less_is_better: bool


def compare(a: list[RequestRecord], b: list[RequestRecord], min_change: float = MIN_CHANGE) -> list[Row]:
    """A row for each metric that both runs support with enough samples.

    B is faster or slower where the whole interval lies on one side of 0 and the difference is at least `min_change`.
    The intervals hold together: with m rows each is at level 1 - 0.05 / m (Bonferroni), so that two equal runs show
    any difference in at most 5 % of comparisons.
    """
    families = _families(a, b)
    level = 1 - (1 - _ALL_ROWS_LEVEL) / sum(len(family.names) for family in families)
    rows: list[Row] = []
    for family in families:
        old, new = family.groups(a), family.groups(b)
        found = bootstrap.relative_change(old, new, family.statistic, level=level)
        if found is None:
            continue
        values = [np.atleast_1d(family.statistic(np.concatenate(groups))) for groups in (old, new)]
        for name, value_a, value_b, (change, low, high) in zip(family.names, *values, found, strict=True):
            small = abs(change) < min_change
            verdict = Verdict.no_evidence if small else _verdict(low, high, family.less_is_better)
            rows.append(
                Row(name=name, a=float(value_a), b=float(value_b), change=change, low=low, high=high, verdict=verdict)
            )
    return rows


def unlike(a: StoredPoint, b: StoredPoint) -> list[str]:
    """Why the two did not do the same work; empty if they did."""
    found = []
    for key, what in (("schedule_hash", "schedules"), ("prompts_hash", "prompts")):
        one, other = a.about.get(key), b.about.get(key)
        if one is None or other is None:
            found.append(f"{key} unknown in {(a if one is None else b).folder}")
        elif one != other:
            found.append(f"different {what} ({one[:8]} and {other[:8]})")
    return found


def marks(name: str, run: StoredPoint) -> list[str]:
    """What speaks against a run's figures as such: requests that did not finish, an early end, failed accuracy."""
    unfinished = sum(record.outcome is not Outcome.finished for record in run.records)
    found = [f"✗ {name}: {unfinished} of {len(run.records)} requests did not finish"] if unfinished else []
    if run.metrics.get("complete", run.about.get("complete")) is False:
        found.append(f"✗ {name}: ended early ({run.metrics.get('incomplete_reason', 'its run says why')})")
    if run.metrics.get("accuracy_status") in ("failed", "not_reached"):
        found.append(f"✗ {name}: accuracy {str(run.metrics['accuracy_status']).replace('_', ' ')}")
    return found


def doubts(name: str, run: StoredPoint) -> list[str]:
    """The run's own reasons to distrust its figures, where its records carry them, and files of it that are amiss."""
    return [f"~ {name}: {text}" for text in [*run.damaged, *run.about.get("distrust", [])]]


def _families(a: list[RequestRecord], b: list[RequestRecord]) -> list[_Family]:
    families = []
    for name in _LATENCIES:
        num_samples = min(sum(map(len, _latency(name, records))) for records in (a, b))
        supported = [p for p in _PERCENTILES if supports(num_samples, p)]
        if supported:
            statistic = functools.partial(_percentiles, wanted=supported)
            families.append(
                _Family([f"{name}_p{p}" for p in supported], functools.partial(_latency, name), statistic, True)
            )
    return [*families, _Family(["steady_output_tokens_per_s"], _throughput, _mean, False)]


def _latency(name: str, all_records: list[RequestRecord]) -> list[NDArray[np.float64]]:
    return samples.groups(name, [r for r in all_records if r.outcome is Outcome.finished])


def _throughput(all_records: list[RequestRecord]) -> list[NDArray[np.float64]]:
    """Output tokens/s in equal pieces of the steady window, each a group of its own."""
    window = samples.steady_window_ns(all_records)
    if window is None:
        return []
    edges = np.linspace(*window, _BLOCKS + 1).astype(np.int64)
    seconds = (edges[1] - edges[0]) / 1e9
    times = np.concatenate([np.asarray(record.chunk_times_ns, dtype=np.int64) for record in all_records])
    tokens = np.concatenate([np.asarray(record.chunk_tokens, dtype=np.int64) for record in all_records])
    per_piece, _ = np.histogram(times, bins=edges, weights=tokens)
    return [np.asarray([count / seconds]) for count in per_piece]


def _percentiles(values: NDArray[np.float64], wanted: list[int]) -> NDArray[np.float64]:
    return np.asarray(np.percentile(values, wanted))


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean())


def _verdict(low: float, high: float, less_is_better: bool) -> Verdict:
    if low <= 0 <= high:
        return Verdict.no_evidence
    return Verdict.faster if (high < 0) == less_is_better else Verdict.slower
