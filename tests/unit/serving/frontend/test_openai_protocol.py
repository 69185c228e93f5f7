"""OpenAI's protocol without a server: what is accepted, what is refused and by which name, what is answered."""

import json
from typing import Any

import pytest

from serving.engine.request import Cancelled, Event, Failed, Finished, GenerationRequest, SamplingParams, Timings, Token
from serving.frontend import openai_request
from serving.frontend.errors import RequestError, openai_body
from serving.frontend.openai_reply import OpenAiReply
from serving.frontend.openai_request import OpenAiRequest
from serving.frontend.output_text import OutputText
from serving.tokenizer.bytes import EOS_ID, ByteTokenizer
from tests.support.admission import admit

TOKENIZER = ByteTokenizer()
TIMINGS = Timings(submitted_ns=1, scheduled_ns=1_000_001, first_token_ns=3_000_001, ended_ns=7_500_001)
USER = [{"role": "user", "content": "Hi"}]


def completion(**body: Any) -> OpenAiRequest:
    return openai_request.parse_completion(json.dumps({"model": "m", "prompt": "x"} | body).encode(), "m")


def chat(**body: Any) -> OpenAiRequest:
    content = json.dumps({"model": "m", "messages": USER} | body).encode()
    return openai_request.parse_chat(content, "m", TOKENIZER.chat_template)


def reply(asked: OpenAiRequest, stop: tuple[str, ...] = ()) -> OpenAiReply:
    request = GenerationRequest("id-1", [65], SamplingParams(9), eos_token_ids=(EOS_ID,))
    text = OutputText(request, TOKENIZER.detokenizer(continues=True), stop)
    return OpenAiReply(asked, text, TOKENIZER, request_id="id-1", model="m", created_s=5, num_prompt_tokens=4)


def tokens(ids: bytes | list[int], first: int = 0) -> list[Event]:
    return [
        Token(i, 0.5, first + k, 0, logprob=-0.25, top_logprobs=[(i, -0.25), (66, -2.0)]) for k, i in enumerate(ids)
    ]


def finished(reason: Any = "length", **more: int) -> Finished:
    return Finished(reason, TIMINGS, 4, 3, **more)


def events_of(body: bytes) -> list[Any]:
    """Server-sent events by the book: `data: ` lines, a blank line after each."""
    assert body.endswith(b"\n\n")
    found = [part.removeprefix("data: ") for part in body.decode().split("\n\n")[:-1]]
    return [part if part == "[DONE]" else json.loads(part) for part in found]


def test_defaults() -> None:
    generation = completion().generation
    assert (generation.default_max_new_tokens, generation.temperature, generation.top_p) == (16, 1.0, 1.0)
    assert (generation.top_k, generation.top_logprobs, generation.ignore_eos) == (0, None, False)
    assert chat().generation.default_max_new_tokens is None
    assert not completion().stream


def test_prompts_and_messages() -> None:
    assert completion(prompt=["one"]).generation.prompt == "one"
    assert completion(prompt=[1, 2]).generation.prompt == [1, 2]
    parts = [{"type": "text", "text": "H"}, {"type": "text", "text": "i"}]
    assert chat(messages=[{"role": "user", "content": parts}]).generation.prompt == "user: Hi\nassistant: "


def test_what_vllm_s_clients_send_besides_is_understood_or_ignored() -> None:
    asked = completion(
        top_k=-1, repetition_penalty=1.1, ignore_eos=True, min_tokens=5, stop=None, logprobs=None, best_of=1,
        use_beam_search=False, user="someone", stop_token_ids=[7], stream=True, stream_options={"include_usage": True},
    )  # fmt: skip
    assert (asked.generation.repetition_penalty, asked.generation.stop_token_ids) == (1.1, (7,))
    assert (asked.stream, asked.include_usage, asked.continuous_usage) == (True, True, False)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": [[1], [2]]}, "prompt"),
        ({"prompt": [True]}, "prompt"),
        ({"n": 2}, "n"),
        ({"best_of": 3}, "best_of"),
        ({"echo": True}, "echo"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"min_tokens": 3}, "min_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": 101}, "temperature"),
        ({"top_k": -2}, "top_k"),
        ({"logprobs": 21}, "logprobs"),
        ({"plumbline": {"positions": [1]}}, "plumbline.prompt_id"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"stop": ["x" * 257]}, "stop"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": 1}, "stream_options"),
        ({"model": 5}, "model"),
        ({"plumbline": {"prompt_id": 5}}, "plumbline.prompt_id"),
    ],
)
def test_a_completion_s_bad_field_is_named(body: dict[str, Any], field: str) -> None:
    with pytest.raises(RequestError) as caught:
        admit(completion(**body).generation)
    assert (caught.value.status, caught.value.field) == (400, field)
    assert json.loads(openai_body(caught.value))["error"]["param"] == field


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": ["Hi"]}, "messages[0]"),
        ({"messages": [*USER, {"role": "user", "content": None}]}, "messages[1].content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0]"),
        ({"tools": [{}]}, "tools"),
        ({"messages": [{"role": "user", "content": {}}]}, "messages[0].content"),
        ({"messages": [{"content": "Hi"}]}, "messages[0].role"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"max_completion_tokens": 0}, "max_completion_tokens"),
    ],
)
def test_a_chat_s_bad_field_is_named(body: dict[str, Any], field: str) -> None:
    with pytest.raises(RequestError) as caught:
        admit(chat(**body).generation)
    assert (caught.value.status, caught.value.field) == (400, field)


def test_values_are_shown_in_json_s_spelling() -> None:
    with pytest.raises(RequestError) as unsupported:
        completion(echo=True)
    assert unsupported.value.message == "echo: true is not allowed: must be false or absent: not supported"
    with pytest.raises(RequestError) as empty:
        chat(messages=[])
    assert empty.value.message == "messages: [] is not allowed: must be a non-empty list of messages"


def test_what_asks_for_nothing_is_accepted() -> None:
    completion(n=1, presence_penalty=0.0, echo=False, suffix="", logit_bias={}, response_format={"type": "text"})


def test_an_unknown_model_and_a_model_without_template() -> None:
    with pytest.raises(RequestError) as unknown:
        completion(model="another")
    assert (unknown.value.status, unknown.value.kind) == (404, "model_not_found")
    with pytest.raises(RequestError) as plain:
        openai_request.parse_chat(json.dumps({"messages": USER}).encode(), "m", None)
    assert (plain.value.status, plain.value.field) == (400, "messages")


def test_the_exact_bytes_of_a_chunk() -> None:
    head = b'data: {"id":"id-1","object":"text_completion","created":5,"model":"m","choices":'
    choice = b'{"index":0,"text":"a","logprobs":null,"finish_reason":null}'
    assert reply(completion(stream=True)).stream(tokens(b"a")) == head + b"[" + choice + b"]}\n\n"


def test_a_completion_stream() -> None:
    encoder = reply(completion(stream=True, return_token_ids=True, plumbline={"timings": True}))
    body = encoder.stream(tokens(b"a")) + encoder.stream([*tokens(b"bc", 1), finished()])
    first, last, done = events_of(body)
    assert first["choices"][0] == {"index": 0, "text": "a", "logprobs": None, "finish_reason": None, "token_ids": [97]}
    assert last["choices"][0]["text"] == "bc"
    assert last["choices"][0]["finish_reason"] == "length"
    assert last["choices"][0]["token_ids"] == [98, 99]
    assert last["plumbline"] == {"queue_ms": 1.0, "prefill_ms": 2.0, "decode_ms": 4.5}
    assert "plumbline" not in first
    assert done == "[DONE]"


def test_a_chat_stream_names_the_role_once_and_usage_last() -> None:
    encoder = reply(chat(stream=True, stream_options={"include_usage": True}))
    body = encoder.stream(tokens(b"a")) + encoder.stream([*tokens([EOS_ID], 1), finished("eos", num_cached_tokens=3)])
    role, first, last, usage, _ = events_of(body)
    assert role["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert first["object"] == "chat.completion.chunk"
    assert first["choices"][0]["delta"] == {"content": "a"}
    assert last["choices"][0] == {"index": 0, "delta": {"content": ""}, "logprobs": None, "finish_reason": "stop"}
    assert [event["usage"] for event in (role, first, last)] == [None] * 3
    assert usage["choices"] == []
    details = {"cached_tokens": 3}
    expected = {"prompt_tokens": 4, "completion_tokens": 2, "total_tokens": 6, "prompt_tokens_details": details}
    assert usage["usage"] == expected


def test_usage_in_every_chunk_if_asked() -> None:
    encoder = reply(completion(stream=True, stream_options={"include_usage": True, "continuous_usage_stats": True}))
    assert [events_of(encoder.stream(tokens(b"a", i)))[0]["usage"]["completion_tokens"] for i in range(3)] == [1, 2, 3]


def test_a_whole_chat() -> None:
    encoder = reply(chat())
    encoder.collect(tokens(b"ok"))
    content = json.loads(encoder.whole(finished()))
    assert content["object"] == "chat.completion"
    assert content["choices"][0]["message"] == {"role": "assistant", "content": "ok", "refusal": None}
    assert content["usage"]["total_tokens"] == 6


def test_logprobs_of_a_completion() -> None:
    encoder = reply(completion(logprobs=2))
    encoder.collect(tokens([97, 0xC3, 98]))
    assert json.loads(encoder.whole(finished()))["choices"][0]["logprobs"] == {
        "tokens": ["a", "bytes:\\xc3", "b"],
        "token_logprobs": [-0.25] * 3,
        "top_logprobs": [{"a": -0.25, "B": -2.0}, {"bytes:\\xc3": -0.25, "B": -2.0}, {"b": -0.25, "B": -2.0}],
        "text_offset": [0, 1, 1],
    }


def test_logprobs_of_a_chat_stream() -> None:
    encoder = reply(chat(logprobs=True, top_logprobs=1, stream=True))
    chunk = events_of(encoder.stream(tokens([0xC3])))[1]
    entry = {"token": "\ufffd", "logprob": -0.25, "bytes": [0xC3]}
    other = {"token": "B", "logprob": -2.0, "bytes": [66]}
    assert chunk["choices"][0]["logprobs"]["content"] == [entry | {"top_logprobs": [entry, other]}]


def test_a_stop_string_across_chunks() -> None:
    encoder = reply(completion(stream=True), stop=("bc",))
    body = encoder.stream(tokens(b"ab")) + encoder.stream(tokens(b"c", 2))
    assert encoder.stopped
    body += encoder.stream([*tokens(b"d", 3), finished("stop")])
    *chunks, _ = events_of(body)
    assert [chunk["choices"][0]["text"] for chunk in chunks] == ["a", "", ""]
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("ending", "kind", "message"),
    [
        (Failed("agent 0 was lost", "agent_lost", TIMINGS), "agent_lost", "agent 0 was lost"),
        (Cancelled("too slow", TIMINGS), "cancelled", "too slow"),
    ],
)
def test_a_failure_is_an_event_of_its_own(ending: Event, kind: str, message: str) -> None:
    chunk, error = events_of(reply(completion(stream=True)).stream([*tokens(b"a"), ending]))
    assert chunk["choices"][0]["finish_reason"] is None
    assert (error["error"]["code"], error["error"]["message"]) == (kind, message)
