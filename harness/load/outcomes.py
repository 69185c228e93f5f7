"""From the raw account of a request to its record: what the reply meant, and how the request ended."""

from __future__ import annotations

from harness.config import ClientProtocol
from harness.load import protocols
from harness.load.prompts import Prompt
from harness.load.protocols import Reply
from harness.load.spool import Frame
from harness.records import Outcome, RequestRecord

_REJECTED = (429, 503)


def record(protocol: ClientProtocol, prompt: Prompt, frame: Frame, body: bytes, worker: int) -> RequestRecord:
    """Work out one request's record from its frame."""
    ok = frame.http_status == 200
    reply = protocols.parse(protocol, frame.pieces(body)) if ok else Reply()
    outcome, error_class, error = _outcome(frame, reply, body)
    return RequestRecord(
        index=frame.index,
        prompt_id=prompt.prompt_id,
        outcome=outcome,
        max_new_tokens=prompt.max_new_tokens,
        scheduled_ns=frame.scheduled_ns,
        sent_ns=frame.sent_ns,
        headers_ns=frame.headers_ns,
        ended_ns=frame.ended_ns if frame.sent_ns is not None or frame.ending != "cancelled" else None,
        error_class=error_class,
        error=error,
        http_status=frame.http_status,
        server_request_id=frame.server_request_id,
        attempts=frame.attempts,
        prompt_tokens=reply.prompt_tokens,
        output_tokens=sum(reply.chunk_tokens) if reply.output_tokens is None else reply.output_tokens,
        finish_reason=reply.finish_reason,
        text=reply.text,
        token_ids=reply.token_ids,
        chunk_times_ns=reply.chunk_times_ns,
        chunk_tokens=reply.chunk_tokens,
        read_lags_ns=frame.lags_ns,
        server_queue_ms=reply.timings.get("queue_ms"),
        server_prefill_ms=reply.timings.get("prefill_ms"),
        server_decode_ms=reply.timings.get("decode_ms"),
        worker=worker,
    )


def lost(index: int, prompt: Prompt, scheduled_ns: int | None) -> RequestRecord:
    """The record of a request that no worker gave an account of."""
    return RequestRecord(
        index,
        prompt.prompt_id,
        Outcome.lost,
        prompt.max_new_tokens,
        scheduled_ns=scheduled_ns,
        error_class="no_account",
    )


def _outcome(frame: Frame, reply: Reply, body: bytes) -> tuple[Outcome, str, str]:
    """(outcome, error class, one line of error)."""
    if frame.ending in (Outcome.timed_out, Outcome.cancelled):
        return Outcome(frame.ending), frame.error_class, frame.error
    status = frame.http_status
    if status is not None and status != 200:
        text = " ".join(body[:300].decode("utf-8", "replace").split())
        return (Outcome.rejected if status in _REJECTED else Outcome.failed), f"http_{status}", text
    reasons = [
        (bool(reply.error), "server_error", reply.error),
        (frame.ending != "complete", frame.error_class, frame.error),
        (bool(reply.malformed), "malformed", reply.malformed),
        (not reply.ended, "truncated", "the stream ended without its end mark"),
    ]
    for applies, error_class, error in reasons:
        if applies:
            return Outcome.failed, error_class, error
    return Outcome.finished, "", ""
