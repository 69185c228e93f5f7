"""When the loop plans: at once behind short steps, late behind long ones so that newcomers can join, never twice."""

from __future__ import annotations

import asyncio
import time

from serving.engine.captures import CaptureStore
from serving.engine.counters import Counters
from serving.engine.live import LiveRequest, LiveRequests
from serving.engine.loop import EngineLoop
from serving.engine.request import GenerationRequest, SamplingParams
from serving.engine.sequence import new_sequence
from serving.engine.stream import ResultStream
from serving.engine.worker import StepResult
from tests.support.engine import small_stack

DAY_NS = 86_400 * 10**9


class HandWorker:
    """Keeps the steps; the test answers them, with durations of its choice."""

    pid = 1

    def __init__(self) -> None:
        self.sent = []
        self.on_result = None

    def send(self, plan, number):
        self.sent.append((plan, number))
        return time.monotonic_ns()

    def answer(self, index, duration_ns=0):
        plan, number = self.sent[index]
        now, count = time.monotonic_ns(), len(plan.sequences)
        zeros = [0.0] * count
        self.on_result(StepResult(number, [1] * count, zeros, None, None, None, now, 0, 0, 0, now + duration_ns, now))

    def close(self):
        pass


def make_loop(tmp_path, **options):
    loop = EngineLoop(0, small_stack(**options).serving, LiveRequests(CaptureStore(tmp_path), Counters()))
    worker = HandWorker()
    worker.on_result = loop.on_result
    loop.attach(worker, give_up=lambda message: None)
    return loop, worker


def submit(loop, name):
    request = GenerationRequest(name, [1, 2], SamplingParams(20))
    stream = ResultStream(name, 0, 100, lambda request_id, limit: None)
    loop.submit(LiveRequest(new_sequence(request, 0, 0), stream, None))
    return stream


async def turn():
    """One turn of the event loop, in which kicks are worked off."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_requests_of_one_turn_share_a_prefill_step(tmp_path):
    loop, worker = make_loop(tmp_path)
    for name in "abc":
        submit(loop, name)
    assert worker.sent == []
    await turn()
    assert [len(plan.sequences) for plan, _ in worker.sent] == [3]
    loop.stop()


async def test_behind_short_steps_the_next_is_sent_at_once(tmp_path):
    loop, worker = make_loop(tmp_path)
    submit(loop, "a")
    await turn()
    assert len(worker.sent) == 1  # nothing is known about the first prefill
    worker.answer(0, 100_000)
    assert len(worker.sent) == 2  # nor about the first decode
    worker.answer(1, 100_000)
    assert len(worker.sent) == 4  # now two are in flight
    assert worker.sent[3][0].token_source == [0]
    worker.answer(2, 100_000)
    assert len(worker.sent) == 5
    loop.stop()


async def test_behind_long_steps_a_newcomer_still_gets_the_next_step(tmp_path):
    loop, worker = make_loop(tmp_path)
    submit(loop, "a")
    await turn()
    worker.answer(0, DAY_NS)
    worker.answer(1, DAY_NS)
    assert len(worker.sent) == 3  # one in flight, the next is due in a day
    submit(loop, "b")
    await turn()
    assert len(worker.sent) == 3
    worker.answer(2, DAY_NS)
    assert worker.sent[3][0].kind.name == "prefill" and len(worker.sent) == 4
    loop.stop()


async def test_a_timer_plans_the_next_step_shortly_before_the_end(tmp_path):
    loop, worker = make_loop(tmp_path)
    submit(loop, "a")
    await turn()
    worker.answer(0, 30_000_000)
    worker.answer(1, 30_000_000)
    assert len(worker.sent) == 3
    async with asyncio.timeout(2):
        while len(worker.sent) == 3:
            await asyncio.sleep(0.001)
    assert len(worker.sent) == 4
    assert loop._plan_timer is None
    loop.stop()


async def test_without_pipelining_steps_go_one_by_one(tmp_path):
    loop, worker = make_loop(tmp_path, pipeline=False)
    submit(loop, "a")
    await turn()
    for index in range(5):
        assert len(worker.sent) == index + 1
        worker.answer(index, 1000)
    loop.stop()
