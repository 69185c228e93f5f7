"""The loads under which load generators are compared, all at constant arrivals. Plain values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """One load on the timed server: `count` requests at `rate` per s, each `num_tokens` tokens."""

    name: str
    rate: float
    count: int
    num_tokens: int
    ttft_ms: float
    itl_ms: float
    with_peers: bool = True


def by_rate(rate: float, duration_s: float) -> Case:
    """Short replies: 16 tokens, 50 ms to the first and 10 ms between."""
    return Case(f"{rate:g} requests/s", rate, round(rate * duration_s), 16, 50.0, 10.0)


def by_streams(streams: int, duration_s: float, with_peers: bool) -> Case:
    """Long replies, so that `streams` are open at a time: 64 tokens 50 ms apart, 50 + 63 x 50 = 3200 ms each."""
    rate = streams / 3.2
    return Case(f"{streams} streams", rate, round(rate * duration_s), 64, 50.0, 50.0, with_peers)


def cases(duration_s: float) -> list[Case]:
    """The loads of `make bench-fidelity`; starting a peer takes many times longer than its load, so they get fewer."""
    streams = [by_streams(n, duration_s, with_peers=n in (64, 512)) for n in (64, 128, 256, 512, 1024, 2048)]
    return [by_rate(rate, duration_s) for rate in (10.0, 50.0, 200.0)] + streams
