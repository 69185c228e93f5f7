"""Latencies of single requests, from their records: what the statistics are made of. Pure; nothing else computes them.

Definitions as in vLLM's and MLPerf's serving benchmarks: TTFT = first token - start; E2EL = last token - start;
TPOT = (E2EL - TTFT) / (n - 1); ITL = gaps between successive tokens. All in ms; None, or no gap, where a request did
not come so far. The start is the scheduled time, or the time it was sent (`since="sent_ns"`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from harness.config import SloConfig
from harness.records import RequestRecord

Values = NDArray[np.float64]
Groups = list[Values]


def ttft_ms(record: RequestRecord, since: str = "scheduled_ns") -> float | None:
    """Time to first token."""
    return _between_ms(getattr(record, since), record.first_token_ns)


def e2el_ms(record: RequestRecord, since: str = "scheduled_ns") -> float | None:
    """Time to last token."""
    return _between_ms(getattr(record, since), record.last_token_ns)


def tpot_ms(record: RequestRecord) -> float | None:
    """Mean time per output token after the first; None with fewer than two tokens."""
    whole_ms = _between_ms(record.first_token_ns, record.last_token_ns)
    return None if whole_ms is None or record.output_tokens < 2 else whole_ms / (record.output_tokens - 1)


def lateness_ms(record: RequestRecord) -> float | None:
    """From the scheduled time until it was sent."""
    return _between_ms(record.scheduled_ns, record.sent_ns)


def chunk_itl_ms(record: RequestRecord) -> Values:
    """Gap between successive chunks, whatever number of tokens they carry: what a reader of the stream sees."""
    return np.diff(np.asarray(record.chunk_times_ns, dtype=np.float64)) / 1e6


def itl_ms(record: RequestRecord) -> Values:
    """Gap per token: the gap before a chunk of k tokens is shared among them, as k gaps of 1/k each."""
    tokens = np.asarray(record.chunk_tokens[1:], dtype=np.int64)
    gaps = chunk_itl_ms(record)
    return np.repeat(gaps / tokens, tokens) if len(gaps) else gaps


# By metric name without the statistic's suffix.
LATENCIES: dict[str, Callable[[RequestRecord], float | Values | None]] = {
    "ttft_ms": ttft_ms,
    "ttft_from_sent_ms": partial(ttft_ms, since="sent_ns"),
    "tpot_ms": tpot_ms,
    "itl_ms": itl_ms,
    "chunk_itl_ms": chunk_itl_ms,
    "e2el_ms": e2el_ms,
    "e2el_from_sent_ms": partial(e2el_ms, since="sent_ns"),
}


def groups(name: str, records: list[RequestRecord]) -> Groups:
    """Samples of one of LATENCIES, an array (perhaps empty) per request, so that resampling can keep requests whole."""
    per_request = (LATENCIES[name](record) for record in records)
    return [np.asarray([] if one is None else one, dtype=np.float64).reshape(-1) for one in per_request]


def latencies(records: list[RequestRecord]) -> dict[str, Groups]:
    """The groups of all LATENCIES."""
    return {name: groups(name, records) for name in LATENCIES}


def values(name: str, records: list[RequestRecord]) -> Values:
    """All samples of one of LATENCIES, in order of the records."""
    return np.concatenate([np.empty(0), *groups(name, records)])


def meets(record: RequestRecord, slo: SloConfig) -> bool:
    """Whether a finished request meets both limits; TTFT from the scheduled time; one token has no TPOT to miss."""
    ttft, tpot = ttft_ms(record), tpot_ms(record)
    return ttft is not None and ttft <= slo.ttft_ms and (tpot is None or tpot <= slo.tpot_ms)


def drift_ratio(ordered: Values) -> float | None:
    """Median of the last third over the median of the first third, samples in schedule order; None below 9 samples."""
    third = len(ordered) // 3
    if third < 3:
        return None
    first = float(np.median(ordered[:third]))
    return float(np.median(ordered[-third:])) / first if first > 0 else None


def steady_window_ns(records: list[RequestRecord]) -> tuple[int, int] | None:
    """From the first end of a request to the last send: the server neither fills up nor drains. None if it is empty."""
    ends = [record.ended_ns for record in records if record.ended_ns is not None and record.chunk_times_ns]
    sends = [record.sent_ns for record in records if record.sent_ns is not None]
    if not ends or not sends or max(sends) <= min(ends):
        return None
    return min(ends), max(sends)


def tokens_between(records: list[RequestRecord], begin_ns: int, end_ns: int) -> int:
    """Tokens of all requests that arrived in [begin, end)."""
    total = 0
    for record in records:
        times = np.asarray(record.chunk_times_ns)
        inside = (times >= begin_ns) & (times < end_ns)
        total += int(np.asarray(record.chunk_tokens)[inside].sum()) if len(times) else 0
    return total


def _between_ms(first_ns: int | None, last_ns: int | None) -> float | None:
    return None if first_ns is None or last_ns is None else (last_ns - first_ns) / 1e6
