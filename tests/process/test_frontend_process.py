"""The front end as a process: how it starts, refuses to start, and stops."""

from __future__ import annotations

import json
import signal
import socket
import time
import urllib.error
from pathlib import Path

import aiohttp
import pytest

from tests.support.stack import await_phase, running_stack, spawn, write_config

pytestmark = pytest.mark.process
LINK = {"PLUMBLINE_LINK_TOKEN": "t", "PLUMBLINE_SHM_PREFIX": "plumbline-test-"}


def refusal(tmp_path: Path, *overrides: str, **environment: str) -> str:
    """Start a front end that must fail; its one line of error."""
    process, reading = spawn("serving.frontend", write_config(tmp_path, *overrides), **(LINK | environment))
    status = await_phase(reading, "listening")
    assert (status["phase"], process.wait(10)) == ("error", 1)
    log = (tmp_path / "frontend.log").read_text()
    assert log == f"error: {status['message']}\n"  # no traceback
    return str(status["message"])


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert refusal(tmp_path, f"serving.http.port={port}").startswith(
            f"serving.http.port={port}: cannot listen on 127.0.0.1:{port} (Address already in use)"
        )


def test_a_public_address_without_a_key(tmp_path: Path) -> None:
    message = refusal(tmp_path, "serving.http.host=0.0.0.0")
    assert message == "serving.http.host=0.0.0.0: without serving.http.api_key only a loopback address is allowed"


def test_a_tokenizer_that_is_not_there(tmp_path: Path) -> None:
    assert "no tokenizer.json or tokenizer.model there" in refusal(tmp_path, f"model.tokenizer={tmp_path}")


def test_no_link_token(tmp_path: Path) -> None:
    assert refusal(tmp_path, PLUMBLINE_LINK_TOKEN="").startswith("PLUMBLINE_LINK_TOKEN is not set")


def test_a_public_address_with_a_key_and_before_any_agent(tmp_path: Path) -> None:
    options = ["serving.http.host=0.0.0.0", "serving.http.api_key=secret"]
    with running_stack(tmp_path, *options, num_agents=0) as stack:
        with pytest.raises(urllib.error.HTTPError) as starting:
            stack.get("/readyz")
        assert starting.value.code == 503
        assert b'"starting"' in starting.value.read()
        with pytest.raises(urllib.error.HTTPError) as locked:
            stack.get("/stats")
        assert locked.value.code == 401


async def test_sigterm_ends_running_streams_visibly_and_the_process_promptly(tmp_path: Path) -> None:
    with running_stack(tmp_path, "device.arithmetic_step_ms=20") as stack:
        async with aiohttp.ClientSession() as session:
            body = {"prompt": "x", "max_tokens": 900, "temperature": 0, "stream": True}
            async with session.post(f"{stack.url}/v1/completions", json=body) as answer:
                await answer.content.readline()
                stack.frontend.send_signal(signal.SIGTERM)
                sent = time.monotonic()
                last = (await answer.content.read()).split(b"\n\n")[-2].strip()
        assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == "shutdown"
        assert stack.frontend.wait(5) == 0
        assert stack.agents[0].wait(5) is not None
        assert time.monotonic() - sent < 3.0
        assert stack.log() == ""


async def test_an_idle_connection_does_not_delay_the_end(tmp_path: Path) -> None:
    with (
        running_stack(tmp_path, "serving.fake=frontend", num_agents=0) as stack,
        socket.create_connection(("127.0.0.1", stack.port)),
    ):
        stack.frontend.send_signal(signal.SIGTERM)
        assert stack.frontend.wait(3) == 0
