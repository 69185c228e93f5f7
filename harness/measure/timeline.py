"""A timed window over time: phases of each request, and quantities over time. Pure: from the records alone.

Times are seconds after the start of the window. What the server did is seen from the client's side, so `decoding`
counts requests whose stream has begun and not ended, not rows of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.records import RequestRecord

Values = NDArray[np.float64]
MAX_POINTS = 60  # of a series, unless asked for otherwise
_NICE_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0)


@dataclass(frozen=True)
class Phases:
    """One request that was sent. None = it was not reached; prefill_s is known only if the server reports its times."""

    index: int
    prompt_id: str
    outcome: str
    sent_s: float
    prefill_s: float | None
    first_token_s: float | None
    ended_s: float


@dataclass(frozen=True)
class Series:
    """Quantities per interval: `end_s` and every value have shape [num_intervals], float64."""

    end_s: Values
    interval_s: float
    values: dict[str, Values]  # output_tokens_per_s, requests_in_flight, requests_waiting, requests_decoding


def phases(records: list[RequestRecord]) -> list[Phases]:
    """Sent requests in order of sending. A request that never ended ends with the last event of the window."""
    last_ns = max((_last_ns(record) for record in records), default=0)
    found = [
        Phases(
            record.index,
            record.prompt_id,
            str(record.outcome),
            record.sent_ns / 1e9,
            _prefill_s(record),
            None if record.first_token_ns is None else record.first_token_ns / 1e9,
            (last_ns if record.ended_ns is None else record.ended_ns) / 1e9,
        )
        for record in records
        if record.sent_ns is not None
    ]
    return sorted(found, key=lambda phase: phase.sent_s)


def interval_s(records: list[RequestRecord]) -> float:
    """A round interval that cuts the window into at most MAX_POINTS parts."""
    total_s = max((_last_ns(record) for record in records), default=0) / 1e9
    return next((size for size in _NICE_S if total_s / size <= MAX_POINTS), total_s / MAX_POINTS)


def series(records: list[RequestRecord], every_s: float | None = None) -> Series:
    """Tokens/s and mean numbers of requests in each interval; empty if nothing was sent."""
    every_s = every_s or interval_s(records)
    sent = phases(records)
    last_s = max((_last_ns(record) for record in records), default=0) / 1e9
    count = int(np.ceil(last_s / every_s)) if sent and last_s > 0 else 0
    edges = np.arange(count + 1) * every_s
    times = np.asarray([time_ns / 1e9 for record in records for time_ns in record.chunk_times_ns])
    tokens = np.asarray([num for record in records for num in record.chunk_tokens])
    begun = [phase for phase in sent if phase.first_token_s is not None]
    per_interval = np.histogram(times, edges, weights=tokens)[0] if count else np.empty(0)
    return Series(
        edges[1:],
        every_s,
        {
            "output_tokens_per_s": per_interval / every_s,
            "requests_in_flight": _mean_number([(p.sent_s, p.ended_s) for p in sent], edges),
            "requests_waiting": _mean_number([(p.sent_s, p.first_token_s or p.ended_s) for p in sent], edges),
            "requests_decoding": _mean_number([(p.first_token_s or 0.0, p.ended_s) for p in begun], edges),
        },
    )


def _mean_number(spans: list[tuple[float, float]], edges: Values) -> Values:
    """Mean number of spans that are open, per interval between edges [n + 1] -> [n]."""
    if len(edges) < 2:
        return np.empty(0)
    starts, ends = (np.sort([span[side] for span in spans]) for side in (0, 1))
    opened = _time_since(starts, edges) - _time_since(ends, edges)
    return np.asarray(np.diff(opened) / np.diff(edges))


def _time_since(events: Values, edges: Values) -> Values:
    """Sum over events of the time from each to the edge, where the event came first."""
    before = np.searchsorted(events, edges)
    sums = np.concatenate([[0.0], np.cumsum(events)])
    return np.asarray(before * edges - sums[before])


def _prefill_s(record: RequestRecord) -> float | None:
    if record.server_queue_ms is None or record.sent_ns is None:
        return None
    begin_s = record.sent_ns / 1e9 + record.server_queue_ms / 1e3
    return begin_s if record.first_token_ns is None else min(begin_s, record.first_token_ns / 1e9)


def _last_ns(record: RequestRecord) -> int:
    return max(record.ended_ns or 0, record.sent_ns or 0, record.last_token_ns or 0)
