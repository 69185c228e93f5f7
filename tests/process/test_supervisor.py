"""The supervisor with real processes: agents come back, so many times; whoever is killed leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import openai
import orjson
import psutil
import pytest

from serving.config import ModelKind, StackConfig, WeightSource
from serving.processes.supervisor import Supervisor
from tests.support.stack import MODEL, ROOT, expected_text

pytestmark = pytest.mark.process


def quiet(message: str, done: int, total: int) -> None:
    """No progress display."""


def make_stack(folder: Path, max_restarts: int, num_agents: int = 1) -> StackConfig:
    stack = StackConfig(run_dir=str(folder))
    stack.model.kind, stack.model.source, stack.model.name = ModelKind.arithmetic, WeightSource.none, MODEL
    stack.device.arithmetic_step_ms = 5.0
    stack.serving.agent.max_restarts = max_restarts
    stack.serving.agent.device_ids = list(range(num_agents))
    return stack


def eventually(condition: Callable[[], bool], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


async def ready(session: aiohttp.ClientSession, url: str) -> None:
    async with asyncio.timeout(30):
        while True:
            async with session.get(f"{url}/readyz") as answer:
                if answer.status == 200:
                    return
            await asyncio.sleep(0.02)


async def test_a_killed_agent_comes_back_so_many_times(tmp_path: Path) -> None:
    reasons: queue.SimpleQueue[str] = queue.SimpleQueue()
    with Supervisor(make_stack(tmp_path, max_restarts=2), tmp_path, reasons.put) as supervisor:
        supervisor.start(quiet)
        url = supervisor.url
        client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="-", max_retries=0)
        async with client, aiohttp.ClientSession() as session:
            for _ in range(2):
                stream = await client.completions.create(
                    model=MODEL, prompt="in flight", max_tokens=900, temperature=0, stream=True
                )
                await anext(stream)
                killed = time.monotonic()
                os.kill(supervisor.pids["agent-0"], signal.SIGKILL)
                with pytest.raises(openai.APIError, match=r"agent 0 .* was lost"):
                    async for _ in stream:
                        pass
                assert time.monotonic() - killed < 2.0
                await ready(session, url)
                answer = await client.completions.create(model=MODEL, prompt="later", max_tokens=9, temperature=0)
                assert answer.choices[0].text == expected_text("later", 9)
                assert "agent-0 was killed by SIGKILL" in reasons.get_nowait()
                assert supervisor.failure() is None
            async with session.get(f"{url}/stats") as stats:
                agent: dict[str, Any] = (await stats.json())["engine"]["agents"][0]
            assert (agent["agents_attached"], agent["requests_live"], agent["kv_blocks_used"]) == (3, 0, 0)
            told: queue.SimpleQueue[None] = queue.SimpleQueue()
            supervisor.on_death(lambda: told.put(None))
            os.kill(supervisor.pids["agent-0"], signal.SIGKILL)
            await asyncio.to_thread(told.get, timeout=10)
            failure = supervisor.failure()
            assert failure is not None and failure.startswith("agent-0 was killed by SIGKILL")
            assert reasons.empty()


async def test_several_agents_share_the_load_and_outlive_each_other(tmp_path: Path) -> None:
    with Supervisor(make_stack(tmp_path, max_restarts=1, num_agents=2), tmp_path) as supervisor:
        supervisor.start(quiet)
        url = supervisor.url

        async def stream(session: aiohttp.ClientSession, prompt: str, count: int) -> str:
            body = {"inputs": prompt, "parameters": {"max_new_tokens": count, "do_sample": "False"}}
            async with session.post(f"{url}/models/llama2/generate_stream", json=body) as answer:
                lines = [line async for line in answer.content]
            text: str = orjson.loads(lines[-1])["data"][0]["generated_text"]
            return text

        async def agents(session: aiohttp.ClientSession) -> list[dict[str, Any]]:
            async with session.get(f"{url}/stats") as answer:
                found: list[dict[str, Any]] = (await answer.json())["engine"]["agents"]
                return found

        async def live(session: aiohttp.ClientSession, wanted: list[int]) -> None:
            async with asyncio.timeout(20):
                while [agent["requests_live"] for agent in await agents(session)] != wanted:
                    await asyncio.sleep(0.02)

        async with aiohttp.ClientSession() as session:
            async with asyncio.timeout(20):
                while not all(agent["ready"] for agent in await agents(session)):
                    await asyncio.sleep(0.02)
            running = [asyncio.create_task(stream(session, f"share {number}", 600)) for number in range(6)]
            await live(session, [3, 3])
            os.kill(supervisor.pids["agent-1"], signal.SIGKILL)
            answers = await asyncio.gather(*running, return_exceptions=True)
            whole = [expected_text(f"share {number}", 600) for number in range(6)]
            # The agents took turns: the first had every other request, and loses none of them.
            outcomes = [text == answer for text, answer in zip(whole, answers, strict=True)]
            assert sum(outcomes) == 3
            broken = [answer for answer, is_whole in zip(answers, outcomes, strict=True) if not is_whole]
            assert all(isinstance(answer, aiohttp.ClientPayloadError) for answer in broken)
            assert await stream(session, "later", 9) == expected_text("later", 9)
            async with asyncio.timeout(20):
                while not all(agent["ready"] for agent in await agents(session)):
                    await asyncio.sleep(0.02)
            assert [agent["agents_attached"] for agent in await agents(session)] == [1, 2]


def test_a_stop_during_the_pause_before_a_restart(tmp_path: Path) -> None:
    reasons: queue.SimpleQueue[str] = queue.SimpleQueue()
    with Supervisor(make_stack(tmp_path, max_restarts=9), tmp_path, reasons.put) as supervisor:
        supervisor.start(quiet)
        pids = supervisor.pids
        os.kill(pids["agent-0"], signal.SIGKILL)
        reasons.get(timeout=10)
    assert not any(psutil.pid_exists(pid) for pid in pids.values())
    assert supervisor.pids == {}


def test_agents_leave_when_the_front_end_is_killed(tmp_path: Path) -> None:
    with Supervisor(make_stack(tmp_path, max_restarts=9, num_agents=2), tmp_path) as supervisor:
        supervisor.start(quiet)
        agents = [psutil.Process(supervisor.pids[f"agent-{index}"]) for index in range(2)]
        os.kill(supervisor.pids["frontend"], signal.SIGKILL)
        eventually(lambda: not any(agent.is_running() and agent.status() != "zombie" for agent in agents), within_s=5.0)
        failure = supervisor.failure()
        assert failure is not None and "frontend was killed by SIGKILL" in failure


def test_serve_runs_until_it_is_asked_to_end(tmp_path: Path) -> None:
    options = ["model=arithmetic", "serving.http.port=0", f"outputs_dir={tmp_path}"]
    process = subprocess.Popen(
        [sys.executable, "serve.py", *options], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("arithmetic at http://127.0.0.1:")
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) == 2
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=20)
    assert (process.returncode, stdout, stderr) == (0, "", "")
    assert not any(child.is_running() for child in children)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("serving.batch.decode=0", "serving.batch.decode=0: must be at least 1"),
        ("serving.batch.decoed=1", "did you mean serving.batch.decode?"),
        ("serving.external=true", "there is nothing to start"),
        ("-m", "-m: takes no flags but --help"),
    ],
)
def test_serve_refuses_what_cannot_run(tmp_path: Path, option: str, message: str) -> None:
    command = [sys.executable, "serve.py", option, f"outputs_dir={tmp_path}"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert message in ended.stderr


def test_serve_says_what_it_is_for() -> None:
    told = subprocess.run([sys.executable, "serve.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "python serve.py model=arithmetic" in told.stdout and "launch.py --help" in told.stdout


def test_serve_needs_a_folder_to_write_to() -> None:
    command = [sys.executable, "serve.py", "model=arithmetic", "outputs_dir=README.md"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: outputs_dir=README.md: must be a folder") and ended.stderr.count("\n") == 1
