"""Faults on the link: each is named on both sides, ends what it must within moments, and leaves the engine usable."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest

from serving.agent.arithmetic import ArithmeticModel
from serving.agent.runner import FakeRunner, ModelRunner
from serving.config import Fake
from serving.engine.request import Failed, Finished, Unavailable
from serving.fake import fake_token
from serving.link import errors
from serving.link.layout import Shapes
from tests.support.engine import expected_output, small_stack
from tests.support.link import SHM_PREFIX, AgentThread, collect, ids, request, running_engine


async def reconnect(engine, stack) -> AgentThread:
    agent = AgentThread(engine.link_port, stack)
    await asyncio.wait_for(engine.wait_ready(), 5)
    return agent


async def test_a_killed_agent_fails_what_was_in_flight_and_a_new_one_takes_over():
    stack = small_stack(step_ms=5.0)
    async with running_engine(stack, 1) as (engine, agents):
        streams = [engine.submit(request(str(n), [n + 1], 60)) for n in range(6)]
        await anext(streams[0])
        started = time.monotonic()
        agents[0].kill()
        ends = [end for _, end in await asyncio.gather(*(collect(stream) for stream in streams))]
        assert time.monotonic() - started < 2
        assert all(isinstance(end, Failed) and end.kind == "agent_lost" for end in ends)
        assert "agent 0 (pid" in ends[0].message and "was lost" in ends[0].message
        assert engine.state[0] == "no agent"
        with pytest.raises(Unavailable, match="no agent: agent 0"):
            engine.submit(request("early", [1], 2))
        await reconnect(engine, stack)
        tokens, _ = await collect(engine.submit(request("after", [1, 2], 5)))
        assert ids(tokens) == expected_output([1, 2], 5)
        assert engine.stats()["requests"]["failed"] == 6


class BrokenModel(ArithmeticModel):
    """Raises at the third step."""

    steps = 0

    def forward(self, batch):
        self.steps += 1
        if self.steps == 3:
            raise RuntimeError("\n----\nout of device memory\nmore")
        return super().forward(batch)


async def test_a_model_that_raises_is_told_to_the_reader():
    stack = small_stack()
    shapes = Shapes.from_stack(stack)
    async with running_engine(stack, 1, lambda: ModelRunner(BrokenModel(shapes, 0), shapes)) as (engine, agents):
        tokens, end = await collect(engine.submit(request("a", [1, 2], 9)))
        assert isinstance(end, Failed) and end.kind == "agent_error"
        assert "step 3: RuntimeError: out of device memory" in end.message
        assert ids(tokens) == expected_output([1, 2], 9)[: len(tokens)]
        assert isinstance(await agents[0].ended(), errors.AgentFailed)


class StuckRunner:
    """Never answers until told to."""

    def __init__(self) -> None:
        self.released = threading.Event()

    def run(self, step, area):
        self.released.wait(5)
        return 0, 0, 0


async def test_an_agent_that_hangs_is_given_up():
    stack = small_stack()
    stack.serving.agent.step_timeout_s = 0.2
    runner = StuckRunner()
    async with running_engine(stack, 1, lambda: runner) as (engine, agents):
        _, end = await asyncio.wait_for(collect(engine.submit(request("a", [1], 9))), 2)
        assert isinstance(end, Failed) and "no reply to a step for 0 s (serving.agent.step_timeout_s)" in end.message
        runner.released.set()
        assert isinstance(await agents[0].ended(), errors.LinkError)
        await reconnect(engine, stack)


@pytest.mark.parametrize(
    ("hello", "error", "text"),
    [
        ({"token": "guess"}, errors.WrongToken, "does not know this run's session token"),
        (
            {"device_index": 3},
            errors.WrongDevice,
            r"device index 3 is not configured: serving\.agent\.device_ids has 1",
        ),
        ({"vocab_size": 100}, errors.WrongVocabulary, "the model has 100 token ids, the tokenizer 259"),
        ({"shapes": Shapes(1, 2, 3, 4, 5)}, errors.WrongShapes, "max_seqs=4.*max_seqs=1"),
    ],
)
async def test_a_wrong_hello_is_named_on_both_sides(hello, error, text):
    stack = small_stack()
    async with running_engine(stack, 0) as (engine, _):
        stranger = AgentThread(engine.link_port, stack, **hello)
        refusal = await stranger.ended()
        assert type(refusal) is error
        with pytest.raises(error, match=text):
            raise refusal
        assert error.__name__ in engine.state[1]
        await reconnect(engine, stack)
        assert engine.state == ("ready", "")


async def test_a_model_without_cached_prefill_is_refused_where_it_is_needed():
    stack = small_stack(prefix_reuse=True)
    async with running_engine(stack, 0) as (engine, _):
        refusal = await AgentThread(engine.link_port, stack, supports_cached_prefill=False).ended()
        assert isinstance(refusal, errors.UnsupportedModel) and "serving.cache.prefix_reuse=false" in str(refusal)


async def test_a_second_agent_for_a_device_is_refused_and_the_first_works_on():
    stack = small_stack()
    async with running_engine(stack, 1) as (engine, _):
        refusal = await AgentThread(engine.link_port, stack).ended()
        assert isinstance(refusal, errors.WrongDevice) and "already has an agent" in str(refusal)
        tokens, _ = await collect(engine.submit(request("a", [1, 2], 5)))
        assert ids(tokens) == expected_output([1, 2], 5)


async def test_strangers_on_the_port_are_told_and_dropped():
    stack = small_stack()
    async with running_engine(stack, 1) as (engine, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", engine.link_port)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"WrongMagic" in await asyncio.wait_for(reader.read(), 5)
        writer.close()
        tokens, _ = await collect(engine.submit(request("a", [1, 2], 5)))
        assert ids(tokens) == expected_output([1, 2], 5)


async def test_two_agents_share_the_load_and_survive_each_other():
    stack = small_stack(step_ms=5.0)
    stack.serving.agent.device_ids = [0, 1]
    async with running_engine(stack, 2) as (engine, agents):
        streams = [engine.submit(request(str(n), [n + 1, 1], 40)) for n in range(8)]
        assert [agent["requests_live"] for agent in engine.stats()["agents"]] == [4, 4]
        await anext(streams[0])
        agents[1].kill()
        ends = [end for _, end in await asyncio.gather(*(collect(stream) for stream in streams))]
        assert sum(isinstance(end, Finished) for end in ends) == 4
        assert sum(isinstance(end, Failed) for end in ends) == 4
        assert engine.ready and "agent 1 (pid" in engine.state[1]
        tokens, _ = await collect(engine.submit(request("after", [1, 2], 5)))
        assert ids(tokens) == expected_output([1, 2], 5)


async def test_the_fake_agent_answers_without_a_model():
    stack = small_stack()
    stack.serving.fake = Fake.agent
    async with running_engine(stack, 1, lambda: FakeRunner(Shapes.from_stack(stack))) as (engine, _):
        tokens, _ = await collect(engine.submit(request("a", [1, 2, 3], 5)))
        assert ids(tokens) == [fake_token(3 + k) for k in range(5)]


async def test_the_segment_has_no_name_once_the_agent_is_ready():
    async with running_engine(small_stack(), 1):
        assert list(Path("/dev/shm").glob(f"{SHM_PREFIX}*")) == []
