"""The agent as a process of its own: it says when it is ready, dies cleanly, and is missed within moments."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from serving.config import ModelKind, StackConfig, WeightSource
from serving.engine.request import Failed, Finished, GenerationRequest, SamplingParams, Token
from serving.engine.router import Engine
from serving.processes import stack_file

pytestmark = pytest.mark.process
TOKEN = "token of this test"
ROOT = Path(__file__).parents[2]


def make_stack(folder: Path) -> StackConfig:
    stack = StackConfig(run_dir=str(folder))
    stack.model.kind, stack.model.source = ModelKind.arithmetic, WeightSource.none
    stack.device.arithmetic_step_ms = 5.0
    return stack


class AgentProcess:
    """`python -m serving.agent` with a status pipe."""

    def __init__(self, stack: StackConfig, port: int, token: str = TOKEN) -> None:
        config = stack_file.save(stack, Path(stack.run_dir))
        read_fd, write_fd = os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "serving.agent", "--config", str(config), "--link", f"127.0.0.1:{port}"],
            cwd=ROOT,
            env=os.environ | {"PLUMBLINE_LINK_TOKEN": token, "PLUMBLINE_STATUS_FD": str(write_fd)},
            pass_fds=[write_fd],
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(write_fd)
        self._status = os.fdopen(read_fd)

    async def says(self) -> dict[str, object]:
        """The next status line."""
        return json.loads(await asyncio.wait_for(asyncio.to_thread(self._status.readline), 30))

    async def ended(self) -> tuple[int, str]:
        """(return code, stderr)."""
        _, stderr = await asyncio.to_thread(self.process.communicate, timeout=10)
        self._status.close()
        return self.process.returncode, stderr


@asynccontextmanager
async def listening_engine(stack: StackConfig):
    engine = Engine(stack, vocab_size=259, token=TOKEN, shm_prefix=f"plumbline-test{os.getpid()}-")
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


async def generate(engine: Engine, name: str, max_new_tokens: int) -> list[object]:
    stream = engine.submit(GenerationRequest(name, [1, 2, 3], SamplingParams(max_new_tokens)))
    return [event async for events in stream for event in events]


async def test_killed_and_replaced_then_sent_home(tmp_path):
    stack = make_stack(tmp_path)
    async with listening_engine(stack) as engine:
        first = AgentProcess(stack, engine.link_port)
        assert await first.says() == {"phase": "ready"}
        assert engine.ready
        task = asyncio.create_task(generate(engine, "a", 1000))
        await asyncio.sleep(0.1)
        killed = time.monotonic()
        first.process.kill()
        events = await task
        assert time.monotonic() - killed < 2
        assert isinstance(events[-1], Failed) and f"pid {first.process.pid}" in events[-1].message
        assert len(events) > 1 and all(isinstance(event, Token) for event in events[:-1])
        await first.ended()

        second = AgentProcess(stack, engine.link_port)
        assert await second.says() == {"phase": "ready"}
        events = await generate(engine, "b", 3)
        assert [event.token_id for event in events[:-1]] == [14, 70, 164]  # 1+4+9; 14+4*14; 70+5*70-256
        assert isinstance(events[-1], Finished)
        await engine.stop()
        assert await second.ended() == (0, "")
    assert not list(Path("/dev/shm").glob(f"plumbline-test{os.getpid()}-*"))


async def test_an_agent_ends_when_its_engine_is_gone_and_on_sigterm(tmp_path):
    stack = make_stack(tmp_path)
    async with listening_engine(stack) as engine:
        agent = AgentProcess(stack, engine.link_port)
        assert await agent.says() == {"phase": "ready"}
        agent.process.terminate()
        assert (await agent.ended())[0] == -15
        agent = AgentProcess(stack, engine.link_port)
        assert await agent.says() == {"phase": "ready"}
        next(iter(engine._links))._transport.abort()  # as when the front end is killed
        status = await agent.says()
        assert status["phase"] == "error" and "the front end closed the link" in status["message"]
        assert (await agent.ended())[0] == 1


async def test_failures_before_ready_are_one_line(tmp_path):
    stack = make_stack(tmp_path)
    async with listening_engine(stack) as engine:
        stranger = AgentProcess(stack, engine.link_port, token="another")
        status = await stranger.says()
        assert status == {"phase": "error", "message": "WrongToken: the agent does not know this run's session token"}
        assert (await stranger.ended())[0] == 1
        port = engine.link_port
    nobody = AgentProcess(stack, port)
    status = await nobody.says()
    assert f"cannot connect to the front end at 127.0.0.1:{port}" in status["message"]
    assert (await nobody.ended())[0] == 1
    stack.serving.cache.num_blocks = 2**40
    too_big = AgentProcess(stack, port)
    status = await too_big.says()
    assert status["phase"] == "error" and "could not be made ready: " in status["message"]
    assert "Unable to allocate" in status["message"] and "\n" not in status["message"]
    assert (await too_big.ended())[0] == 1
