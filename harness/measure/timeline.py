"""The phases of each request along a timed window, as the client saw them. Pure: from the records alone."""

from __future__ import annotations

from dataclasses import dataclass

from harness.records import RequestRecord


@dataclass(frozen=True, kw_only=True)
class Phases:
    """One request that was sent; times are seconds after the start of the window.

    None = it was not reached; prefill_s is known only if the server reports its times.
    """

    index: int
    prompt_id: str
    outcome: str
    sent_s: float
    prefill_s: float | None
    first_token_s: float | None
    ended_s: float


def phases(records: list[RequestRecord]) -> list[Phases]:
    """Sent requests in order of sending. A request that never ended ends with the last event of the window."""
    end_s = last_s(records)
    sent = [
        Phases(
            index=record.index,
            prompt_id=record.prompt_id,
            outcome=str(record.outcome),
            sent_s=record.sent_ns / 1e9,
            prefill_s=_prefill_s(record),
            first_token_s=None if record.first_token_ns is None else record.first_token_ns / 1e9,
            ended_s=end_s if record.ended_ns is None else record.ended_ns / 1e9,
        )
        for record in records
        if record.sent_ns is not None
    ]
    return sorted(sent, key=lambda phase: phase.sent_s)


def last_s(records: list[RequestRecord]) -> float:
    """When the last request that was sent ended, or its last token came; 0 if none was sent."""
    sent = [record for record in records if record.sent_ns is not None]
    events_ns = [(record.sent_ns, record.last_token_ns, record.ended_ns) for record in sent]
    return max((at_ns for events in events_ns for at_ns in events if at_ns is not None), default=0) / 1e9


def _prefill_s(record: RequestRecord) -> float | None:
    if record.server_queue_ms is None or record.sent_ns is None:
        return None
    begin_s = record.sent_ns / 1e9 + record.server_queue_ms / 1e3
    return begin_s if record.first_token_ns is None else min(begin_s, record.first_token_ns / 1e9)
