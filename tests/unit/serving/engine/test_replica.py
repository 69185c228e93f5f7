"""A replica of several ranks: each step goes to all, tokens are those of one rank, a lost rank loses it whole."""

from __future__ import annotations

import asyncio

from serving.agent.arithmetic import ArithmeticModel
from serving.agent.runner import ModelRunner
from serving.config import StackConfig
from serving.engine.request import Failed, SamplingParams
from serving.link.layout import Shapes
from tests.support.engine import expected_output, small_stack
from tests.support.link import AgentThread, collect, ids, request, running_engine


def ranked_stack(num_devices: int = 2, step_ms: float = 0.0) -> StackConfig:
    stack = small_stack(step_ms=step_ms)
    stack.serving.agent.device_ids = list(range(num_devices))
    stack.serving.agent.tensor_parallel = 2
    return stack


async def rank(engine, stack, index, runner=None) -> AgentThread:
    """One more agent, connected."""
    agent = AgentThread(engine.link_port, stack, runner, device_index=index)
    async with asyncio.timeout(5):
        while len(engine._links) <= index:
            await asyncio.sleep(0.005)
    return agent


async def test_steps_go_to_every_rank_and_sampling_agrees():
    stack = ranked_stack()
    async with running_engine(stack, 0) as (engine, _):
        await rank(engine, stack, 0)
        assert not engine.ready  # half a model
        await rank(engine, stack, 1)
        assert engine.ready
        sampled = SamplingParams(20, temperature=30.0, top_k=60, repetition_penalty=1.3, seed=7, top_logprobs=2)
        streams = [engine.submit(request(str(n), [n + 1] * 9, 30)) for n in range(6)]
        streams += [engine.submit(request("sampled", [5, 6], sampling=sampled))]
        answers = [tokens for tokens, _ in await asyncio.gather(*map(collect, streams))]
        for n in range(6):
            assert ids(answers[n]) == expected_output([n + 1] * 9, 30)
        with_company = ids(answers[6])
        alone, _ = await collect(engine.submit(request("alone", [5, 6], sampling=sampled)))
        assert ids(alone) == with_company


async def test_a_lost_rank_ends_the_replica_and_the_other_rank_goes_home():
    stack = ranked_stack(step_ms=5.0)
    for lost in (0, 1):
        async with running_engine(stack, 0) as (engine, _):
            agents = [await rank(engine, stack, 0), await rank(engine, stack, 1)]
            stream = engine.submit(request("a", [1], 60))
            await anext(stream)
            agents[lost].kill()
            _, end = await collect(stream)
            assert isinstance(end, Failed) and end.kind == "agent_lost"
            assert await agents[1 - lost].ended() is None  # a bye
            assert not engine.ready
            await rank(engine, stack, 0)
            await rank(engine, stack, 1)
            tokens, _ = await collect(engine.submit(request("b", [1, 2], 5)))
            assert ids(tokens) == expected_output([1, 2], 5)


class OddModel(ArithmeticModel):
    """Adds one to every token."""

    def forward(self, batch):
        logits = super().forward(batch)
        token_ids, values = logits._argmax
        logits._argmax = token_ids + 1, values
        return logits


async def test_ranks_that_disagree_are_found_out():
    stack = ranked_stack()
    shapes = Shapes.from_stack(stack)
    async with running_engine(stack, 0) as (engine, _):
        await rank(engine, stack, 0)
        await rank(engine, stack, 1, ModelRunner(OddModel(shapes, 0.0), shapes))
        _, end = await collect(engine.submit(request("a", [1], 60)))
        assert isinstance(end, Failed) and "RanksDisagree" in end.message


async def test_replicas_of_two_ranks_share_the_load():
    stack = ranked_stack(num_devices=4, step_ms=2.0)
    async with running_engine(stack, 0) as (engine, _):
        for index in range(4):
            await rank(engine, stack, index)
        streams = [engine.submit(request(str(n), [n + 1], 20)) for n in range(4)]
        assert [agent["requests_live"] for agent in engine.stats()["agents"]] == [2, 2]
        for n, (tokens, _) in enumerate(await asyncio.gather(*map(collect, streams))):
            assert ids(tokens) == expected_output([n + 1], 20)
