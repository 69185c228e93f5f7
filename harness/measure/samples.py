"""Latencies of single requests, from their records: what the statistics are made of. Pure.

Every function that returns groups gives one array per request, in ms, so that resampling can keep requests whole.
Definitions as in vLLM's and MLPerf's serving benchmarks: TTFT = first token - start; E2EL = last token - start;
TPOT = (E2EL - TTFT) / (n - 1); ITL = gaps between successive tokens.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.config import SloConfig
from harness.records import RequestRecord

Groups = list[NDArray[np.float64]]


def latencies(records: list[RequestRecord]) -> dict[str, Groups]:
    """All latency samples of finished requests, by metric name without its suffix."""
    return {
        "ttft_ms": ttft_ms(records),
        "ttft_from_sent_ms": _between(records, "sent_ns", "first_token_ns"),
        "tpot_ms": tpot_ms(records),
        "itl_ms": itl_ms(records),
        "chunk_itl_ms": chunk_itl_ms(records),
        "e2el_ms": _between(records, "scheduled_ns", "last_token_ns"),
        "e2el_from_sent_ms": _between(records, "sent_ns", "last_token_ns"),
    }


def ttft_ms(records: list[RequestRecord]) -> Groups:
    """Scheduled time to first token."""
    return _between(records, "scheduled_ns", "first_token_ns")


def tpot_ms(records: list[RequestRecord]) -> Groups:
    """Mean time per output token after the first; no sample for a request of one token."""
    return [_array([value]) for record in records if (value := request_tpot_ms(record)) is not None]


def request_tpot_ms(record: RequestRecord) -> float | None:
    """TPOT of one request; None with fewer than two tokens."""
    first, last = record.first_token_ns, record.last_token_ns
    if first is None or last is None or record.output_tokens < 2:
        return None
    return (last - first) / 1e6 / (record.output_tokens - 1)


def itl_ms(records: list[RequestRecord]) -> Groups:
    """Gap per token: the gap before a chunk of k tokens is shared among them, as k gaps of 1/k each."""
    groups: Groups = []
    for record in records:
        tokens = np.asarray(record.chunk_tokens[1:], dtype=np.int64)
        gaps = np.diff(np.asarray(record.chunk_times_ns, dtype=np.float64)) / 1e6
        groups.append(np.repeat(gaps / tokens, tokens) if len(gaps) else gaps)
    return groups


def chunk_itl_ms(records: list[RequestRecord]) -> Groups:
    """Gap between successive chunks, whatever number of tokens they carry: what a reader of the stream sees."""
    return [np.diff(np.asarray(record.chunk_times_ns, dtype=np.float64)) / 1e6 for record in records]


def meets(record: RequestRecord, slo: SloConfig) -> bool:
    """Whether a finished request meets both limits; TTFT from the scheduled time; one token has no TPOT to miss."""
    if record.first_token_ns is None or record.scheduled_ns is None:
        return False
    tpot = request_tpot_ms(record)
    return (record.first_token_ns - record.scheduled_ns) / 1e6 <= slo.ttft_ms and (tpot is None or tpot <= slo.tpot_ms)


def drift_ratio(groups: Groups) -> float | None:
    """Median of the last third over the median of the first third, requests in schedule order; None below 9 samples."""
    values = np.concatenate(groups) if groups else np.empty(0)
    third = len(values) // 3
    if third < 3:
        return None
    first = float(np.median(values[:third]))
    return float(np.median(values[-third:])) / first if first > 0 else None


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


def _between(records: list[RequestRecord], start: str, end: str) -> Groups:
    pairs = ((getattr(record, start), getattr(record, end)) for record in records)
    return [_array([(last - first) / 1e6]) for first, last in pairs if first is not None and last is not None]


def _array(values: list[float]) -> NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64)
