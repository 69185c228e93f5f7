"""The contest protocol: requests as its clients write them, replies as its official client reads them."""

import json
from typing import Any

import pytest

from serving.engine.request import Cancelled, Event, Failed, Finished, GenerationRequest, SamplingParams, Timings, Token
from serving.frontend import judge_request
from serving.frontend.errors import RequestError, judge_body
from serving.frontend.judge_reply import JudgeReply
from serving.frontend.judge_request import JudgeRequest
from serving.frontend.output_text import OutputText
from serving.tokenizer.bytes import EOS_ID, ByteTokenizer
from tests.support.admission import admit

TOKENIZER = ByteTokenizer()
TIMINGS = Timings(submitted_ns=1, scheduled_ns=1_000_001, first_token_ns=3_000_001, ended_ns=7_500_001)


def parsed(**body: Any) -> JudgeRequest:
    return judge_request.parse(json.dumps(body).encode(), True)


def reply(max_new_tokens: int = 9, stop: tuple[str, ...] = (), **options: Any) -> JudgeReply:
    request = GenerationRequest("r", [65], SamplingParams(max_new_tokens), eos_token_ids=(EOS_ID,))
    text = OutputText(request, TOKENIZER.detokenizer(continues=True), stop)
    return JudgeReply(text, TOKENIZER.special, **{"full_text": True, "timings": False} | options)


def tokens(ids: bytes | list[int], first: int = 0) -> list[Event]:
    return [Token(token_id, token_id / 2, first + i, 0) for i, token_id in enumerate(ids)]


def finished(reason: Any = "length") -> Finished:
    return Finished(reason, TIMINGS, 1, 3)


def official_client(body: bytes) -> list[dict[str, Any]]:
    """As `requests`' iter_lines(decode_unicode=True) and the judge read it: str.splitlines, json, data[0]."""
    return [json.loads(line)["data"][0] for line in body.decode().splitlines() if line]


def test_the_judge_s_own_request() -> None:
    parameters = {"max_new_tokens": 7, "do_sample": "False", "return_full_text": "True"}
    asked = parsed(inputs="Hello?", parameters=parameters)
    generation = asked.generation
    assert (generation.prompt, generation.max_new_tokens, generation.temperature) == ("Hello?", 7, 0.0)
    assert (asked.stream, asked.full_text) == (True, True)


def test_the_original_s_defaults() -> None:
    generation = parsed(inputs="Hello?").generation
    assert generation.max_new_tokens is None
    assert generation.default_max_new_tokens == 300
    assert (generation.temperature, generation.top_k, generation.top_p) == (1.0, 3, 1.0)
    assert parsed(inputs="Hello?", parameters=None).full_text


def test_numbers_may_be_strings_and_unused_parameters_are_ignored() -> None:
    parameters = {"top_p": "0.8", "top_k": "1", "max_new_tokens": "5", "watermark": "False", "typical_p": 0}
    generation = parsed(inputs="Hello?", parameters=parameters).generation
    assert (generation.top_p, generation.top_k, generation.max_new_tokens) == (0.8, 1, 5)


@pytest.mark.parametrize(("sent", "expected"), [("True", True), (True, True), ("false", False), (None, False)])
def test_the_body_decides_on_streaming_where_the_path_does_not(sent: object, expected: bool) -> None:
    body = json.dumps({"inputs": "Hello?", "stream": sent}).encode()
    assert judge_request.parse(body, None).stream is expected
    assert judge_request.parse(body, True).stream


def test_the_extension() -> None:
    plumbline = {"prompt_id": "p-1", "every": 4, "positions": [7], "forced_ids": [1, 2], "timings": True}
    generation = parsed(inputs=[65, 66], parameters={"plumbline": plumbline, "ignore_eos": True}).generation
    capture = generation.extension.capture
    assert capture is not None
    assert (capture.prompt_id, capture.every, capture.positions) == ("p-1", 4, (7,))
    assert generation.extension.forced_ids == [1, 2]
    assert generation.ignore_eos
    assert generation.prompt == [65, 66]


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ({}, "inputs", "missing"),
        ({"inputs": 5}, "inputs", "5 is not allowed: must be a string or a list of token ids"),
        ({"inputs": [-1]}, "inputs", "[-1] is not allowed"),
        ({"inputs": "x", "parameters": []}, "parameters", "[] is not allowed: must be an object"),
        ({"inputs": "x", "parameters": {"max_new_tokens": 0}}, "parameters.max_new_tokens", "1 to 63 are allowed"),
        ({"inputs": "x", "parameters": {"max_new_tokens": "ten"}}, "parameters.max_new_tokens", "an integer"),
        (
            {"inputs": "x", "parameters": {"do_sample": "maybe"}},
            "parameters.do_sample",
            '"maybe" is not allowed: must be true or false',
        ),
        ({"inputs": "x", "parameters": {"do_sample": 1}}, "parameters.do_sample", "1 is not allowed"),
        ({"inputs": "x", "parameters": {"max_new_tokens": True}}, "parameters.max_new_tokens", "true is not allowed"),
        ({"inputs": "x", "parameters": {"seed": 2**63}}, "parameters.seed", "an integer of at most 64 bits"),
        ({"inputs": "x", "parameters": {"repetition_penalty": 0}}, "parameters.repetition_penalty", "0.01 to 100"),
        ({"inputs": "x" * 64}, "inputs", "at most 63 are allowed"),
        (
            {"inputs": "x", "parameters": {"top_p": 1.5}},
            "parameters.top_p",
            "1.5 is out of range: more than 0, at most 1",
        ),
        ({"inputs": "x", "parameters": {"return_protocol": "grpc"}}, "parameters.return_protocol", '"sse"'),
        ({"inputs": "x", "parameters": {"stop": [""]}}, "parameters.stop", "non-empty string"),
        (
            {"inputs": "x", "parameters": {"plumbline": {"evry": None}}},
            "parameters.plumbline.evry",
            "unknown; known are",
        ),
        ({"inputs": "x", "parameters": {"plumbline": {"every": 1}}}, "parameters.plumbline.prompt_id", "needed"),
    ],
)
def test_a_bad_field_is_named(body: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        admit(parsed(**body).generation)
    error = caught.value
    assert (error.status, error.field) == (400, field)
    assert message in error.message
    assert "\n" not in error.message
    assert json.loads(judge_body(error))["field"] == field


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'{"inputs": "\\ud800"}', b"\xff"])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        judge_request.parse(body, True)
    assert (caught.value.status, caught.value.kind) == (400, "invalid_json")


def test_the_exact_bytes_of_a_line() -> None:
    token = b'{"id":97,"logprob":48.5,"special":false,"text":"a"}'
    data = b'{"details":null,"generated_text":"a","tokens":%b,"top_tokens":[%b]}' % (token, token)
    assert reply().stream(tokens(b"a")) == b'{"event":"message","retry":30000,"data":[%b]}\n' % data


def test_a_stream_as_the_official_client_reads_it() -> None:
    encoder = reply(3)
    body = encoder.stream(tokens(b"ab")) + encoder.stream([*tokens(b"c", first=2), finished()])
    data = official_client(body)
    assert [item["generated_text"] for item in data] == ["a", "b", "c", "abc"]
    last = data[-1]
    assert (last["finish_reason"], last["generated_tokens"], last["seed"], last["details"]) == ("length", 3, 0, None)
    assert [token["id"] for token in last["tokens"]] == list(b"abc")
    assert last["prefill"] == [last["tokens"][0]]
    assert last["top_tokens"] == [[last["tokens"][0]]]


def test_a_token_without_text_has_its_line_too() -> None:
    data = official_client(reply().stream([*tokens("é".encode()), *tokens([EOS_ID], 2), finished("eos")]))
    assert [item["generated_text"] for item in data] == ["", "é", "", "é"]
    assert [item["tokens"]["special"] for item in data[:3]] == [False, False, True]
    assert data[-1]["finish_reason"] == "eos"


@pytest.mark.parametrize("awkward", ["\u2028", "\u2029", "\x85", "\x0b\x1c", '"\\\n', "é€😀"])
def test_no_character_of_the_text_splits_a_line(awkward: str) -> None:
    ids = list(awkward.encode())
    body = reply(len(ids)).stream([*tokens(ids), finished()])
    assert body.isascii()
    assert official_client(body)[-1]["generated_text"] == awkward


def test_without_full_text_there_are_only_token_lines() -> None:
    data = official_client(reply(3, full_text=False).stream([*tokens(b"abc"), finished()]))
    assert [item["generated_text"] for item in data] == ["a", "b", "c"]


def test_timings_come_last_if_asked_for() -> None:
    expected = {"queue_ms": 1.0, "prefill_ms": 2.0, "decode_ms": 4.5}
    for full_text in (True, False):
        data = official_client(reply(1, full_text=full_text, timings=True).stream([*tokens(b"a"), finished()]))
        assert data[-1]["plumbline"] == expected
        assert data[-1]["finish_reason"] == "length"


def test_the_fork_s_dict_form() -> None:
    lines = reply(1, as_dict=True).stream([*tokens(b"a"), finished()]).splitlines()
    assert [json.loads(line)["data"]["generated_text"] for line in lines] == ["a", "a"]


def test_the_original_drops_the_last_token_s_text_when_it_stops_by_length() -> None:
    data = official_client(reply(2, drop_last_text=True).stream([*tokens(b"ab"), finished()]))
    assert [item["generated_text"] for item in data] == ["a", "", "a"]
    assert data[1]["tokens"]["id"] == ord("b")
    data = official_client(reply(9, drop_last_text=True).stream([*tokens(b"ab"), finished("stop")]))
    assert data[-1]["generated_text"] == "ab"


def test_after_a_stop_string_nothing_more_is_said() -> None:
    encoder = reply(stop=("b",))
    body = encoder.stream(tokens(b"abc"))
    assert encoder.stopped
    body += encoder.stream([*tokens(b"d", 3), finished("stop")])
    data = official_client(body)
    assert [item["generated_text"] for item in data] == ["a", "", "a"]
    assert (data[-1]["finish_reason"], data[-1]["generated_tokens"]) == ("stop", 2)


@pytest.mark.parametrize(
    ("ending", "message"),
    [
        (Failed("agent 0 was lost", "agent_lost", TIMINGS), "agent 0 was lost"),
        (Cancelled("too slow", TIMINGS), "too slow"),
    ],
)
def test_a_failure_is_visible(ending: Event, message: str) -> None:
    line = json.loads(reply().stream([*tokens(b"a"), ending]).splitlines()[-1])
    assert line["event"] == "error"
    assert line["data"] == [{"details": message, "generated_text": "", "finish_reason": "predict_failed"}]


def test_a_reply_that_is_not_streamed_is_one_line() -> None:
    encoder = reply(2)
    encoder.collect(tokens(b"ab"))
    body = encoder.whole(finished())
    assert body.endswith(b"\n")
    content = json.loads(body)
    assert list(content) == [
        "generated_text", "finish_reason", "generated_tokens", "prefill", "seed", "tokens", "top_tokens", "details"
    ]  # fmt: skip
    assert content["generated_text"] == "ab"


def test_a_logit_that_json_cannot_say_is_null() -> None:
    data = official_client(reply().stream([Token(97, float("nan"), 0, 0)]))
    assert data[0]["tokens"]["logprob"] is None
