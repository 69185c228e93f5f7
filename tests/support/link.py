"""An engine and its agents over a real link, the agents as threads of this process."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from serving.agent.arithmetic import EOS_ID, VOCAB_SIZE, ArithmeticModel
from serving.agent.runner import ModelRunner, Runner
from serving.agent.session import Session
from serving.config import StackConfig
from serving.engine.request import Event, GenerationRequest, SamplingParams, Token
from serving.engine.router import Engine
from serving.engine.stream import ResultStream
from serving.link.layout import Shapes
from serving.link.message import Hello

TOKEN = "secret of this run"
SHM_PREFIX = f"plumbline-test{os.getpid()}-"


class AgentThread(threading.Thread):
    """Runs a session until it ends; `error` is what ended it, None after a bye."""

    def __init__(self, port: int, stack: StackConfig, runner: Runner | None = None, **hello: object) -> None:
        super().__init__(daemon=True)
        shapes = Shapes.from_stack(stack)
        self._runner = runner or ModelRunner(ArithmeticModel(shapes, stack.device.arithmetic_step_ms), shapes)
        fields = {
            "token": TOKEN,
            "device_index": 0,
            "pid": os.getpid(),
            "vocab_size": VOCAB_SIZE,
            "supports_cached_prefill": True,
            "shapes": shapes,
        }
        self._hello = Hello(**(fields | hello))  # type: ignore[arg-type]
        self._port = port
        self.session: Session | None = None
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        """Dial in and serve."""
        try:
            self.session = Session.dial("127.0.0.1", self._port)
            self.session.shake_hands(self._hello)
            self.session.serve(self._runner)
        except Exception as error:
            self.error = error

    def kill(self) -> None:
        """Cut the connection as the kernel does when a process is killed."""
        assert self.session is not None
        self.session._connection.shutdown(2)

    async def ended(self) -> BaseException | None:
        """Wait for the end and say what it was."""
        await asyncio.to_thread(self.join, 5)
        assert not self.is_alive()
        return self.error


@asynccontextmanager
async def running_engine(
    stack: StackConfig, num_agents: int = 1, make_runner: Callable[[], Runner] | None = None
) -> AsyncIterator[tuple[Engine, list[AgentThread]]]:
    """A started engine with its agents connected; everything is stopped at the end."""
    engine = Engine(stack, vocab_size=VOCAB_SIZE, token=TOKEN, shm_prefix=SHM_PREFIX)
    await engine.start()
    agents = [
        AgentThread(engine.link_port, stack, make_runner and make_runner(), device_index=index)
        for index in range(num_agents)
    ]
    try:
        async with asyncio.timeout(5):
            while num_agents and not all(agent["ready"] for agent in engine.stats()["agents"][:num_agents]):
                await asyncio.sleep(0.005)
        yield engine, agents
    finally:
        await engine.stop()


def request(request_id: str, prompt_ids: list[int], max_new_tokens: int = 8, **fields: object) -> GenerationRequest:
    """A greedy request that EOS ends."""
    sampling = fields.pop("sampling", None) or SamplingParams(max_new_tokens)
    return GenerationRequest(request_id, prompt_ids, sampling, eos_token_ids=(EOS_ID,), **fields)  # type: ignore[arg-type]


async def collect(stream: ResultStream) -> tuple[list[Token], Event]:
    """All tokens and the terminal event, which must be the only one and the last."""
    events = [event async for some in stream for event in some]
    assert all(isinstance(event, Token) for event in events[:-1])
    assert not isinstance(events[-1], Token)
    return events[:-1], events[-1]


def ids(tokens: list[Token]) -> list[int]:
    """Token ids, after checking that the indices count up."""
    assert [token.index for token in tokens] == list(range(len(tokens)))
    return [token.token_id for token in tokens]
