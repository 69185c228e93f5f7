"""What a client reported of a load, and how far that is from the truth. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.bench.case import Case
from harness.bench.truth import TrueReply


@dataclass(frozen=True)
class Reported:
    """One finished request as the client tells it. itls_ms [num_tokens - 1]; of length 1: it only tells the mean."""

    started: float  # in the client's own units: only the order matters
    ttft_ms: float
    itls_ms: NDArray[np.float64]
    request_id: str = ""  # the timed server's, where the client keeps it


@dataclass
class Account:
    """A client's whole report. extra: figures only our generator has."""

    reported: list[Reported]
    extra: dict[str, float] = field(default_factory=dict)


@dataclass
class Fidelity:
    """Errors of one client under one load; times in ms."""

    arrival_error_ms_p50: float
    arrival_error_ms_p99: float
    arrival_error_ms_max: float
    rate_error: float  # achieved / asked for - 1, by the server's clock
    ttft_ms_p50: float  # as reported
    ttft_ms_p99: float
    ttft_error_ms_p99: float  # |reported - true|, request by request
    itl_error_ms_p99: float  # |reported - true|, gap by gap, or mean by mean if the client tells no more
    itl_is_mean: bool
    events_per_s: float  # tokens per second that the server really sent, while all streams were up
    server_late_ms_p99: float  # true TTFT beyond the fixed one: how far the timed server itself fell behind
    lost: int  # requests asked for but not reported as finished


def fidelity(case: Case, account: Account, truth: list[TrueReply]) -> Fidelity:
    """Compare. `truth` in order of arrival; requests beyond `case.count` at its beginning are the client's own probes.

    The arrival error is against the ideal grid i / rate, laid where it suits the client best (the median is 0).
    Clients that keep no request id are matched in order of sending.
    """
    replies = truth[-case.count :]
    pairs = _pairs(account.reported, replies)
    received_s = np.asarray([reply.received_ns for reply in replies]) / 1e9
    off_grid_ms = (received_s - np.arange(len(replies)) / case.rate) * 1e3
    arrival_ms = np.abs(off_grid_ms - np.median(off_grid_ms))
    ttfts = np.asarray([reported.ttft_ms for reported, _ in pairs])
    ttft_errors = np.abs([reported.ttft_ms - true.ttft_ms for reported, true in pairs])
    means = any(len(reported.itls_ms) != len(true.itls_ms) for reported, true in pairs)
    itl_errors = np.concatenate([_itl_errors_ms(reported, true, means) for reported, true in pairs])
    return Fidelity(
        arrival_error_ms_p50=float(np.percentile(arrival_ms, 50)),
        arrival_error_ms_p99=float(np.percentile(arrival_ms, 99)),
        arrival_error_ms_max=float(arrival_ms.max()),
        rate_error=float((len(replies) - 1) / (received_s[-1] - received_s[0]) / case.rate - 1),
        ttft_ms_p50=float(np.percentile(ttfts, 50)),
        ttft_ms_p99=float(np.percentile(ttfts, 99)),
        ttft_error_ms_p99=float(np.percentile(ttft_errors, 99)),
        itl_error_ms_p99=float(np.percentile(itl_errors, 99)),
        itl_is_mean=means,
        events_per_s=_events_per_s(replies),
        server_late_ms_p99=float(np.percentile([reply.ttft_ms - case.ttft_ms for reply in replies], 99)),
        lost=case.count - len(account.reported),
    )


def _pairs(reported: list[Reported], replies: list[TrueReply]) -> list[tuple[Reported, TrueReply]]:
    if not reported or not replies:
        raise ValueError(f"nothing to compare: {len(reported)} requests reported, {len(replies)} in the server's log")
    by_id = {reply.request_id: reply for reply in replies}
    if all(one.request_id in by_id for one in reported):
        return [(one, by_id[one.request_id]) for one in reported]
    return list(zip(sorted(reported, key=lambda one: one.started), replies, strict=False))


def _itl_errors_ms(reported: Reported, true: TrueReply, means: bool) -> NDArray[np.float64]:
    if means:
        return np.asarray([abs(reported.itls_ms.mean() - true.itls_ms.mean())])
    return np.asarray(np.abs(reported.itls_ms - true.itls_ms))


def _events_per_s(replies: list[TrueReply]) -> float:
    """Tokens per second between the first reply's end and the last request's arrival; of all if there is no such time.

    (Before it streams are still opening, after it they only close.)
    """
    events = np.concatenate([reply.sent_ns for reply in replies])
    begin, end = min(int(reply.sent_ns[-1]) for reply in replies), replies[-1].received_ns
    if end <= begin:
        begin, end = int(events.min()), int(events.max())
    return float(np.count_nonzero((events >= begin) & (events < end)) / ((end - begin) / 1e9))
