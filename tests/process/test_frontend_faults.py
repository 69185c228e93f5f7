"""What clients do wrong, and what they do at once: the real server stays right for everybody else."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest

from tests.support.stack import MODEL, RunningStack, expected_text, expected_tokens, running_stack

pytestmark = pytest.mark.process
GREEDY = {"do_sample": "False"}
LONG = [
    "model.seq_length=8192",
    "serving.cache.num_blocks=2048",
    "serving.batch.decode=16",
    "serving.http.body_timeout_s=1.0",
    "serving.http.idle_timeout_s=1.5",
    "serving.http.max_buffered_events=50",
]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    with running_stack(tmp_path_factory.mktemp("faults"), *LONG) as stack:
        yield stack


@pytest.fixture(autouse=True)
def unharmed(stack: RunningStack) -> Iterator[None]:
    """After every fault: nothing left in the engine, and an ordinary request gets an ordinary answer."""
    yield
    eventually(lambda: stack.get("/stats")["http"]["open"] == 0)
    agent = stack.get("/stats")["engine"]["agents"][0]
    assert (agent["requests_live"], agent["kv_blocks_used"]) == (0, 0)
    status, answer = exchange(stack, request("/models/llama2/generate", inputs="still", **limited(8)))
    assert (status, json.loads(answer)["generated_text"]) == (200, expected_text("still", 8))


def eventually(condition: Callable[[], bool], within_s: float = 5.0) -> float:
    """Seconds until the condition held: the server tells nobody when it has noticed a client's leaving."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < within_s, "it did not happen"
        time.sleep(0.02)
    return time.monotonic() - start


def limited(max_new_tokens: int) -> dict[str, Any]:
    return {"parameters": {"max_new_tokens": max_new_tokens, **GREEDY}}


def request(path: str, **body: Any) -> bytes:
    return raw_request(path, json.dumps(body).encode())


def raw_request(path: str, body: bytes, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n".encode() + body


def exchange(stack: RunningStack, data: bytes) -> tuple[int, bytes]:
    """Send bytes, read until the server closes: (status, body)."""
    with socket.create_connection(("127.0.0.1", stack.port), timeout=20) as connection:
        connection.sendall(data)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


@pytest.mark.parametrize(
    ("body", "status", "reason", "field"),
    [
        (json.dumps({"inputs": "x" * 9000, **limited(1)}), 400, "prompt_out_of_range", "inputs"),
        (json.dumps({"inputs": "x" * 8192, **limited(1)}), 400, "prompt_out_of_range", "inputs"),
        (json.dumps({"inputs": "x", **limited(8192)}), 400, "invalid_request", "parameters.max_new_tokens"),
        (json.dumps({"inputs": ""}), 400, "prompt_token_ids_empty", "inputs"),
        (json.dumps({"inputs": []}), 400, "prompt_token_ids_empty", "inputs"),
        (json.dumps({"inputs": [65, 259]}), 400, "invalid_request", "inputs"),
        (json.dumps({"inputs": [2**40]}), 400, "invalid_request", "inputs"),
        (json.dumps({"inputs": "x", "parameters": {"top_p": 0}}), 400, "invalid_request", "parameters.top_p"),
        ('{"inputs": "x"', 400, "invalid_json", "body"),
        ("[" * 100_000, 400, "invalid_json", "body"),
        ("x" * 10_000_000, 413, "body_too_large", "body"),
    ],
    ids=lambda value: None if not isinstance(value, str) or len(value) < 60 else f"{len(value)} bytes",
)
def test_a_bad_request_is_answered_and_named(
    stack: RunningStack, body: str, status: int, reason: str, field: str
) -> None:
    got, answer = exchange(stack, raw_request("/models/llama2/generate_stream", body.encode()))
    content = json.loads(answer)
    assert (got, content["finish_reason"], content["field"]) == (status, reason, field)


def test_a_10_mb_body_in_chunks_without_a_length(stack: RunningStack) -> None:
    head = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", stack.port), timeout=20) as connection:
        connection.sendall(head)
        for _ in range(20):  # more than is allowed, then wait for the answer
            connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    "garbage", [b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"POST /x HTTP/1.1\r\nContent-Length: -5\r\n\r\n"]
)
def test_what_is_not_http_is_refused(stack: RunningStack, garbage: bytes) -> None:
    status, _ = exchange(stack, garbage + b"\r\n\r\n")
    assert status == 400


def test_half_a_head_costs_a_connection_for_a_while(stack: RunningStack) -> None:
    with socket.create_connection(("127.0.0.1", stack.port), timeout=10) as connection:
        connection.sendall(b"POST /models/llama2 HTTP/1.1\r\nContent-Le")
        start = time.monotonic()
        assert connection.recv(100) == b""
        assert 1.0 < time.monotonic() - start < 4.0


def test_half_a_body_is_answered_408(stack: RunningStack) -> None:
    with socket.create_connection(("127.0.0.1", stack.port), timeout=10) as connection:
        connection.sendall(raw_request("/models/llama2", b'{"inputs": "x', length=100))
        start = time.monotonic()
        answer = connection.recv(65536)
        assert 0.9 < time.monotonic() - start < 4.0
    assert answer.startswith(b"HTTP/1.1 408")
    assert b'"finish_reason":"body_timeout"' in answer


def test_a_client_that_leaves_in_the_middle_of_its_body(stack: RunningStack) -> None:
    before = stack.outcomes("judge").get("client_left", 0)
    with socket.create_connection(("127.0.0.1", stack.port)) as connection:
        connection.sendall(raw_request("/models/llama2", b'{"inputs": "x', length=100))
    eventually(lambda: stack.outcomes("judge").get("client_left", 0) == before + 1)


@pytest.mark.parametrize("path", ["/models/llama2/generate_stream", "/models/llama2/generate"])
def test_a_client_that_leaves_ends_its_generation(stack: RunningStack, path: str) -> None:
    before = stack.outcomes("judge").get("client_left", 0)
    with socket.create_connection(("127.0.0.1", stack.port)) as connection:
        connection.sendall(request(path, inputs="gone", **limited(8000)))
        eventually(lambda: stack.get("/stats")["engine"]["agents"][0]["requests_running"] == 1)
    eventually(lambda: stack.get("/stats")["engine"]["agents"][0]["requests_live"] == 0, within_s=0.5)
    assert stack.outcomes("judge").get("client_left", 0) == before + 1


async def test_a_client_that_does_not_read_is_given_up_and_others_are_unharmed(stack: RunningStack) -> None:
    before = stack.outcomes("judge").get("client_too_slow", 0)
    stuck = socket.socket()
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stuck.connect(("127.0.0.1", stack.port))
    stuck.sendall(request("/models/llama2/generate_stream", inputs="stuck", **limited(8000)))
    async with aiohttp.ClientSession() as session:
        body = {"inputs": "others", **limited(300)}
        async with session.post(f"{stack.url}/models/llama2/generate_stream", json=body) as answer:
            ids = [json.loads(line)["data"][0]["tokens"] async for line in answer.content]
    assert [token["id"] for token in ids[:-1]] == expected_tokens(list(b"others"), 300)
    await asyncio.to_thread(eventually, lambda: stack.outcomes("judge").get("client_too_slow", 0) == before + 1, 20.0)
    received = b"".join(iter(lambda: stuck.recv(65536), b""))
    stuck.close()
    assert not received.endswith(b"0\r\n\r\n")  # cut off, not ended


async def test_a_slow_client_that_keeps_up_within_its_bound_gets_everything(stack: RunningStack) -> None:
    body = request("/models/llama2/generate_stream", inputs="slow", **limited(200))
    reader, writer = await asyncio.open_connection("127.0.0.1", stack.port, limit=4096)
    writer.write(body)
    data = b""
    while piece := await reader.read(2048):
        data += piece
        await asyncio.sleep(0.001)
    writer.close()
    ids = expected_tokens(list(b"slow"), 200)
    assert data.count(b'"event":"message"') == len(ids) + 1
    assert data.endswith(b"0\r\n\r\n")


async def test_a_thousand_connections_at_once(stack: RunningStack) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    async def one(number: int) -> bool:
        prompt = f"connection {number}"
        reader, writer = await asyncio.open_connection("127.0.0.1", stack.port)
        writer.write(request("/models/llama2/generate", inputs=prompt, **limited(4)))
        answer = await reader.read()
        writer.close()
        body: bytes = answer.partition(b"\r\n\r\n")[2]
        return bool(json.loads(body)["generated_text"] == expected_text(prompt, 4))

    assert sum(await asyncio.gather(*map(one, range(1000)))) == 1000


def test_a_long_prompt_is_tokenised_aside_and_answered_right(stack: RunningStack) -> None:
    prompt = "upright " * 1000
    status, answer = exchange(stack, request("/models/llama2/generate", inputs=prompt, **limited(4)))
    assert (status, json.loads(answer)["generated_text"]) == (200, expected_text(prompt, 4))


def test_a_client_that_asks_before_it_sends_its_body(stack: RunningStack) -> None:
    data = request("/models/llama2/generate", inputs="asks", **limited(4))
    head, _, body = data.replace(b"Host: x", b"Host: x\r\nExpect: 100-continue").partition(b"\r\n\r\n")
    with socket.create_connection(("127.0.0.1", stack.port), timeout=5) as connection:
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def test_http_1_0_gets_its_stream_until_the_connection_ends(stack: RunningStack) -> None:
    data = request("/models/llama2/generate_stream", inputs="old", **limited(3)).replace(b"HTTP/1.1", b"HTTP/1.0")
    status, body = exchange(stack, data)
    texts = [json.loads(line)["data"][0]["generated_text"] for line in body.splitlines()]
    assert (status, texts[-1]) == (200, expected_text("old", 3))


@pytest.fixture
def small(tmp_path: Path) -> Iterator[RunningStack]:
    overrides = ["serving.queue.max_requests=2", "device.arithmetic_step_ms=20"]
    with running_stack(tmp_path, *overrides) as stack:
        yield stack


async def test_a_full_queue_and_a_killed_agent(small: RunningStack) -> None:
    async with (
        aiohttp.ClientSession() as session,
        openai.AsyncOpenAI(base_url=f"{small.url}/v1", api_key="-", max_retries=0) as client,
        session.post(f"{small.url}/models/llama2/generate_stream", json={"inputs": "a", **limited(900)}) as judge,
        await client.completions.create(model=MODEL, prompt="b", max_tokens=900, temperature=0, stream=True) as chunks,
    ):
        await judge.content.readline()
        await anext(chunks)
        async with session.post(f"{small.url}/models/llama2/generate", json={"inputs": "c"}) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
            assert (await answer.json())["finish_reason"] == "queue_full"

        killed = time.monotonic()
        small.agents[0].kill()
        with pytest.raises(openai.APIError, match=r"agent 0 .* was lost"):
            async for _ in chunks:
                pass
        with pytest.raises(aiohttp.ClientPayloadError):  # the body has no end: nobody takes it for whole
            await judge.content.read()
        assert time.monotonic() - killed < 2.0

        async with session.post(f"{small.url}/v1/completions", json={"prompt": "d"}) as answer:
            assert answer.status == 503
            assert "agent 0" in (await answer.json())["error"]["message"]
        async with session.get(f"{small.url}/readyz") as answer:
            assert (answer.status, (await answer.json())["status"]) == (503, "no agent")
    assert small.outcomes("judge") == {"failed": 1, "queue_full": 1}


def test_the_judge_sees_the_error_line_and_then_a_broken_body(small: RunningStack) -> None:
    with socket.create_connection(("127.0.0.1", small.port), timeout=10) as connection:
        connection.sendall(request("/models/llama2/generate_stream", inputs="a", **limited(900)))
        received = connection.recv(65536)
        small.agents[0].kill()
        received += b"".join(iter(lambda: connection.recv(65536), b""))
    assert not received.endswith(b"0\r\n\r\n")
    error = json.loads(received.split(b"\r\n")[-2])
    assert error["event"] == "error"
    assert error["data"][0]["finish_reason"] == "predict_failed"
    assert "was lost" in error["data"][0]["details"]


async def test_a_waiting_request_of_a_killed_agent_gets_a_status(small: RunningStack) -> None:
    async with aiohttp.ClientSession() as session:
        body = {"inputs": "a", **limited(900)}
        waiting = asyncio.ensure_future(session.post(f"{small.url}/models/llama2/generate", json=body))
        await asyncio.to_thread(eventually, lambda: small.get("/stats")["http"]["open"] == 1)
        small.agents[0].kill()
        async with await waiting as answer:
            assert answer.status == 503
            assert (await answer.json())["finish_reason"] == "agent_lost"
