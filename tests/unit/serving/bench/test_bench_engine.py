"""The engine's benchmark and soak distrust themselves: a wrong, short or lost answer is no measurement."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from serving.bench import answers
from serving.bench.__main__ import figures
from serving.bench.judge_stream import BadAnswer, JudgeStream, request_bytes
from serving.bench.soak import Soak, growth, verdict
from serving.config import Fake
from tests.support.engine import expected_output

KEYS = {
    "ratio_b1", "ratio_b64", "zero_cost_tokens_per_s_b64", "zero_cost_step_ms_b1", "idle_cpu_percent",
    "model_ratio_b1", "model_ratio_b4", "model_ratio_b16",
}  # fmt: skip


def test_the_last_line_has_every_figure_and_null_for_what_was_not_measured():
    flat = figures(dict.fromkeys(("wait", "ladder", "idle", "model")))
    assert set(flat) >= KEYS
    assert all(flat[key] is None for key in KEYS)


def test_expected_answers_are_the_arithmetic_model_s():
    for prompt in answers.prompts(5):
        assert len(prompt) == 21
        assert answers.expected_ids(prompt, 40, Fake.off) == expected_output(list(prompt.encode()), 40, eos=False)
    assert answers.expected_ids("abc", 3, Fake.worker) == [35, 36, 37]


def test_a_wrong_token_is_found():
    asked = answers.prompts(2)
    right = [answers.expected_ids(prompt, 9, Fake.model) for prompt in asked]
    answers.check(asked, 9, Fake.model, right)
    right[1][4] += 1
    with pytest.raises(BadAnswer, match="001"):
        answers.check(asked, 9, Fake.model, right)


class NoTransport:
    """Takes what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.written += data

    def abort(self) -> None:
        self.aborted = True


def body(*ids: int, said: int | None = None) -> bytes:
    tokens = [{"id": token, "text": ""} for token in ids]
    lines: list[dict[str, Any]] = [{"event": "message", "data": [{"tokens": token}]} for token in tokens]
    lines.append({"event": "message", "data": [{"tokens": tokens, "generated_tokens": said or len(ids)}]})
    chunks = [orjson.dumps(line) + b"\n" for line in lines]
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


async def read(data: bytes, asked: int, piece: int, leave_after: int = 0) -> tuple[JudgeStream, NoTransport]:
    stream, transport = JudgeStream(request_bytes("x", asked), asked, leave_after), NoTransport()
    stream.connection_made(transport)  # type: ignore[arg-type]
    for start in range(0, len(data), piece):
        stream.data_received(data[start : start + piece])
    stream.connection_lost(None)
    await stream.done
    return stream, transport


@pytest.mark.parametrize("piece", [7, 101, 10_000])
async def test_an_answer_is_read_however_it_is_cut(piece):
    stream, transport = await read(body(3, 1, 4), 3, piece)
    assert stream.token_ids() == [3, 1, 4]
    assert transport.written.startswith(b"POST /models/llama2/generate_stream HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "data",
    [body(3, 1), body(3, 1, 4, said=2), body(3, 1, 4)[:-200], b"HTTP/1.1 503 Service Unavailable\r\n\r\n{}\n"],
    ids=["too few", "another count", "cut off", "refused"],
)
async def test_what_is_not_whole_is_no_answer(data):
    stream, _ = await read(data, 3, 10_000)
    with pytest.raises(BadAnswer):
        stream.token_ids()


async def test_a_client_that_leaves_aborts():
    _, transport = await read(body(3, 1, 4), 3, 40, leave_after=2)
    assert transport.aborted


def soaked(left: dict[str, int], memory: list[int], wrong: list[str]) -> dict[str, Any]:
    soak = Soak(None, 1.0, random.Random(0), wrong=wrong, memory={"frontend": memory})  # type: ignore[arg-type]
    counts = dict.fromkeys(("requests_live", "requests_running", "requests_waiting", "kv_blocks_used"), 0)
    agent = counts | {"preemptions": 1, "prefix_hit_rate": 0.0, "steps_total": 9} | left
    stats = SimpleNamespace(http={"open": left.get("open", 0)}, engine={"agents": [agent]})
    return verdict(soak, vars(stats))


def test_a_soak_fails_for_whatever_is_left_over():
    flat = [100 << 20] * 9
    assert soaked({}, flat, [])["problems"] == []
    assert soaked({"kv_blocks_used": 1}, flat, [])["problems"] == ["kv_blocks_used is 1, not 0"]
    assert soaked({"open": 2}, flat, [])["problems"] == ["http_open is 2, not 0"]
    assert soaked({}, flat, ["wrong tokens"])["problems"] == ["wrong tokens"]
    growing = [(100 + 5 * index) << 20 for index in range(9)]
    assert "frontend grew" in soaked({}, growing, [])["problems"][0]


def test_memory_is_compared_between_the_second_and_the_last_third():
    assert growth([1, 1, 1, 5, 6, 7, 8, 9, 10]) == (6, 9)
    assert growth([4]) == (4, 4)
