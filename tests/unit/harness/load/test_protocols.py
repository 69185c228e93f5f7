"""Request bytes and reply streams of the three protocols."""

import json
from dataclasses import replace
from typing import Any

import pytest

from harness.config import ClientProtocol
from harness.load import protocols
from harness.load.prompts import Prompt
from harness.load.protocols import Reply, RequestOptions, Target

PROMPT = Prompt("0", 5, text="Hi", extra={"plumbline": {"prompt_id": "0", "every": 8}})
JUDGE = RequestOptions(ClientProtocol.judge, "m")
COMPLETIONS = RequestOptions(ClientProtocol.completions, "m")
CHAT = RequestOptions(ClientProtocol.chat, "m")


def judge_line(text: str, token_id: int, **more: Any) -> bytes:
    token = {"id": token_id, "logprob": 1.5, "special": False, "text": text}
    data = {"details": None, "generated_text": text, "tokens": token, "top_tokens": [token], **more}
    return json.dumps({"event": "message", "retry": 30000, "data": [data]}).encode() + b"\n"


def judge_end(text: str, reason: str = "length", count: int = 2) -> bytes:
    data = {"generated_text": text, "finish_reason": reason, "generated_tokens": count, "tokens": []}
    return json.dumps({"event": "message", "retry": 30000, "data": [data]}).encode() + b"\n"


def sse(*values: Any) -> bytes:
    return b"".join(b"data: " + (v if isinstance(v, bytes) else json.dumps(v).encode()) + b"\n\n" for v in values)


def test_judge_payload_is_the_contest_client_s() -> None:
    plain = protocols.payload(replace(JUDGE, ignore_eos=False), Prompt("0", 5, text="Hi"))
    assert plain == {
        "inputs": "Hi",
        "parameters": {"max_new_tokens": 5, "do_sample": "False", "return_full_text": "True"},
    }
    extended = protocols.payload(replace(JUDGE, server_timings=True), PROMPT)["parameters"]
    assert extended["ignore_eos"] is True
    assert extended["plumbline"] == {"prompt_id": "0", "every": 8, "timings": True}


def test_openai_payloads() -> None:
    completions = protocols.payload(replace(COMPLETIONS, return_token_ids=True), Prompt("0", 5, token_ids=[1, 2]))
    assert completions["prompt"] == [1, 2]
    assert completions["stream_options"] == {"include_usage": True}
    assert (completions["return_token_ids"], completions["temperature"], completions["max_tokens"]) == (True, 0, 5)
    chat = protocols.payload(replace(CHAT, extra_body={"cache_prompt": False}), PROMPT)
    assert chat["messages"] == [{"role": "user", "content": "Hi"}]
    assert chat["cache_prompt"] is False
    assert chat["plumbline"] == {"prompt_id": "0", "every": 8}


def test_token_ids_need_completions() -> None:
    with pytest.raises(ValueError, match=r"workload\.protocol=judge: cannot carry token ids"):
        protocols.payload(JUDGE, Prompt("0", 5, token_ids=[1]))


def test_request_bytes() -> None:
    data = protocols.encode(
        Target("::1", 80, False, "/base"), replace(COMPLETIONS, api_key="k"), Prompt("0", 5, text="ü")
    )
    head, body = data.split(b"\r\n\r\n", 1)
    assert head.startswith(b"POST /base/v1/completions HTTP/1.1\r\nHost: [::1]:80\r\n")
    assert b"Authorization: Bearer k" in head
    assert f"Content-Length: {len(body)}".encode() in head
    assert json.loads(body)["prompt"] == "ü"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8835", Target("127.0.0.1", 8835, False, "")),
        ("https://host/api/v1/", Target("host", 443, True, "/api")),
        ("http://[::1]:80", Target("::1", 80, False, "")),
    ],
)
def test_url(url: str, expected: Target) -> None:
    assert protocols.target(url) == expected


@pytest.mark.parametrize("url", ["", "host:80", "ftp://host", "http://", "http://host:port", "http://h?x=1"])
def test_bad_url_is_named(url: str) -> None:
    with pytest.raises(ValueError, match=r"serving\.url="):
        protocols.target(url)


def test_judge_reply() -> None:
    first = judge_line("He", 7)
    pieces = [(10, first[:40]), (11, first[40:] + judge_line("", 8)), (12, judge_end("He", count=2))]
    assert protocols.parse(ClientProtocol.judge, pieces) == Reply(
        ended=True,
        text="He",
        finish_reason="length",
        output_tokens=2,
        token_ids=[7, 8],
        chunk_times_ns=[11, 11],
        chunk_tokens=[1, 1],
    )


def test_judge_reply_of_the_fork_has_no_list_and_may_lack_the_last_line_feed() -> None:
    line = json.loads(judge_line("He", 7))
    end = json.loads(judge_end("He", count=1))
    for value in (line, end):
        value["data"] = value["data"][0]
    reply = protocols.parse(
        ClientProtocol.judge, [(1, json.dumps(line).encode() + b"\n"), (2, json.dumps(end).encode())]
    )
    assert (reply.ended, reply.text, reply.token_ids) == (True, "He", [7])


def test_judge_stream_without_its_last_line_has_not_ended() -> None:
    reply = protocols.parse(ClientProtocol.judge, [(1, judge_line("He", 7))])
    assert (reply.ended, reply.text) == (False, "He")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (judge_end("Error202: prompt out of range", "prompt_out_of_range"), "prompt_out_of_range: Error202"),
        (b'{"event": "error", "error": {"message": "agent died"}}\n', "agent died"),
        (b'{"event": "error", "data": [{"details": "agent gone", "generated_text": ""}]}\n', "agent gone"),
    ],
)
def test_judge_errors(body: bytes, error: str) -> None:
    assert protocols.parse(ClientProtocol.judge, [(1, body)]).error.startswith(error)


@pytest.mark.parametrize(
    ("protocol", "body", "malformed"),
    [
        ("judge", b": ping\n", "JsonLinesError: line 1"),
        ("judge", b'{"event": "message"}\n', "KeyError: 'data'"),
        ("completions", b"data: {\n\n", "JSONDecodeError"),
        ("chat", b"data: 3\n\n", "AttributeError"),
    ],
)
def test_malformed_replies(protocol: str, body: bytes, malformed: str) -> None:
    assert protocols.parse(ClientProtocol(protocol), [(1, body)]).malformed.startswith(malformed)


def test_completions_reply_counts_tokens_without_text_and_reads_usage() -> None:
    usage = {"prompt_tokens": 4, "completion_tokens": 3, "total_tokens": 7}
    body = sse(
        {"choices": [{"text": "a", "finish_reason": None}], "usage": None},
        {"choices": [{"text": "", "finish_reason": None}]},  # half a character: a token all the same
        {"choices": [{"text": "é", "finish_reason": "length"}]},
        {
            "choices": [],
            "usage": usage,
            "plumbline": {"timings": {"queue_ms": 1.5, "prefill_ms": 2.0, "decode_ms": 3.0}},
        },
        b"[DONE]",
    )
    assert protocols.parse(ClientProtocol.completions, [(5, body)]) == Reply(
        ended=True,
        text="aé",
        finish_reason="length",
        prompt_tokens=4,
        output_tokens=3,
        chunk_times_ns=[5, 5, 5],
        chunk_tokens=[1, 1, 1],
        timings={"queue_ms": 1.5, "prefill_ms": 2.0, "decode_ms": 3.0},
    )


def test_token_ids_say_how_many_tokens_a_chunk_holds() -> None:
    body = sse(
        {"choices": [{"text": "abc", "token_ids": [1, 2, 3], "finish_reason": None}]},
        {"choices": [{"text": "", "token_ids": [], "finish_reason": "stop"}]},
    )
    reply = protocols.parse(ClientProtocol.completions, [(5, body)])
    assert (reply.token_ids, reply.chunk_tokens, reply.ended) == ([1, 2, 3], [3], True)


def test_chat_reply_opening_and_closing_messages_are_no_tokens() -> None:
    body = sse(
        {"choices": [{"delta": {"role": "assistant", "content": ""}, "finish_reason": None}]},
        {"choices": [{"delta": {"content": "Hi"}, "finish_reason": None}]},
        {"choices": [{"delta": {}, "finish_reason": "stop"}]},
        b"[DONE]",
    )
    reply = protocols.parse(ClientProtocol.chat, [(5, body)])
    assert (reply.text, reply.chunk_tokens, reply.finish_reason) == ("Hi", [1], "stop")


def test_openai_error() -> None:
    body = sse({"error": {"message": "overloaded", "code": 500}})
    assert protocols.parse(ClientProtocol.completions, [(1, body)]).error == "overloaded"
