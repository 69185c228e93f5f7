"""Every way a request can end gives exactly one outcome, with its reason."""

import pytest

from harness.config import ClientProtocol
from harness.load import outcomes
from harness.load.prompts import Prompt
from harness.load.spool import Frame
from harness.records import Outcome

PROMPT = Prompt("p", 2, text="x")
TOKEN = b'{"event":"message","data":[{"generated_text":"a","tokens":{"id":1}}]}\n'
END = b'{"event":"message","data":[{"generated_text":"a","finish_reason":"length","generated_tokens":1}]}\n'


@pytest.mark.parametrize(
    ("ending", "status", "body", "outcome", "error_class"),
    [
        ("complete", 200, TOKEN + END, Outcome.finished, ""),
        ("complete", 200, TOKEN, Outcome.failed, "truncated"),
        ("complete", 200, b"", Outcome.failed, "truncated"),
        ("complete", 200, b"{", Outcome.failed, "malformed"),
        ("complete", 200, b'{"error": "agent died"}', Outcome.failed, "server_error"),
        ("complete", 429, b"full", Outcome.rejected, "http_429"),
        ("complete", 503, b"starting", Outcome.rejected, "http_503"),
        ("complete", 400, b"max_new_tokens", Outcome.failed, "http_400"),
        ("complete", 500, b"", Outcome.failed, "http_500"),
        ("failed", None, b"", Outcome.failed, "connection"),
        ("failed", 200, TOKEN, Outcome.failed, "connection"),
        ("failed", 200, b"{", Outcome.failed, "connection"),
        ("timed_out", 200, TOKEN, Outcome.timed_out, "connection"),
        ("cancelled", None, b"", Outcome.cancelled, "connection"),
    ],
)
def test_outcome(ending: str, status: int | None, body: bytes, outcome: Outcome, error_class: str) -> None:
    given = "" if ending == "complete" else "connection"
    frame = Frame(
        3, ending, 0, 9, 1, http_status=status, error_class=given, times_ns=[5], sizes=[len(body)], lags_ns=[1]
    )
    record = outcomes.record(ClientProtocol.judge, PROMPT, frame, body, worker=1)
    assert (record.outcome, record.error_class) == (outcome, error_class)
    assert (record.index, record.prompt_id, record.worker, record.http_status) == (3, "p", 1, status)
    if status == 200 and TOKEN in body:
        assert (record.chunk_times_ns, record.output_tokens, record.text) == ([5], 1, "a")


def test_an_error_body_is_kept_in_one_line() -> None:
    frame = Frame(0, "complete", 0, 9, 1, http_status=400, times_ns=[5], sizes=[26], lags_ns=[1])
    record = outcomes.record(ClientProtocol.judge, PROMPT, frame, b'{"error":\n "bad prompt"}\n\n', 0)
    assert record.error == '{"error": "bad prompt"}'


def test_lost() -> None:
    record = outcomes.lost(4, PROMPT, 7)
    assert (record.outcome, record.scheduled_ns, record.sent_ns) == (Outcome.lost, 7, None)
