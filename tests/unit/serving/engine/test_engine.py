"""The engine over a real link: every request ends once, with the right tokens, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import random

import numpy as np
import pytest

from serving.config import Fake
from serving.engine.request import (
    Cancelled,
    Capture,
    Failed,
    Finished,
    InvalidRequest,
    QueueFull,
    SamplingParams,
    Unavailable,
)
from serving.fake import fake_token
from serving.reference.arithmetic import reference_rows
from tests.support.engine import expected_output, small_stack
from tests.support.link import collect, ids, request, running_engine


def all_free(engine) -> bool:
    """No request, no block, nothing in flight on any agent."""
    return all(
        (agent["requests_live"], agent["requests_waiting"], agent["requests_running"], agent["kv_blocks_used"])
        == (0, 0, 0, 0)
        for agent in engine.stats()["agents"]
    )


async def test_a_random_load_with_cancellations_gets_batch_1_tokens():
    random.seed(3)
    prompts = [[random.randrange(256) for _ in range(random.randrange(1, 40))] for _ in range(60)]
    counts = [random.randrange(1, 24) for _ in prompts]
    async with running_engine(small_stack(num_blocks=25), 1) as (engine, _):

        async def one(number: int) -> str:
            await asyncio.sleep(random.random() * 0.05)
            stream = engine.submit(request(str(number), prompts[number], counts[number]))
            if number % 5 == 0:
                asyncio.get_running_loop().call_later(random.random() * 0.02, engine.cancel, str(number), "left")
            tokens, end = await collect(stream)
            expected = expected_output(prompts[number], counts[number])
            if isinstance(end, Cancelled):
                assert end.reason == "left" and ids(tokens) == expected[: len(tokens)]
                return "cancelled"
            assert ids(tokens) == expected
            assert end.reason == ("eos" if expected[-1] == 257 else "length")
            assert (end.num_prompt_tokens, end.num_output_tokens) == (len(prompts[number]), len(expected))
            assert end.timings.queue_ms >= 0 and end.timings.prefill_ms > 0 and end.timings.decode_ms >= 0
            return "finished"

        outcomes = await asyncio.gather(*(one(number) for number in range(60)))
        counters = engine.stats()["requests"]
        assert counters["submitted"] == 60 and counters["failed"] == 0
        assert counters["finished"] == outcomes.count("finished")
        assert counters["cancelled"] == outcomes.count("cancelled")
        await asyncio.sleep(0.05)  # the last step of a cancelled request may still be under way
        assert all_free(engine)
        assert engine.ready


async def test_sampled_tokens_do_not_depend_on_company():
    sampling = SamplingParams(12, temperature=40.0, top_p=0.9, repetition_penalty=1.2, seed=11)
    async with running_engine(small_stack(), 1) as (engine, _):
        alone, _ = await collect(engine.submit(request("a", [1, 2, 3], sampling=sampling)))
        others = [engine.submit(request(f"o{n}", [n] * 9, 20)) for n in range(3)]
        among, _ = await collect(engine.submit(request("b", [1, 2, 3], sampling=sampling)))
        await asyncio.gather(*(collect(other) for other in others))
        drawn = [engine.submit(request(f"d{n}", [1], sampling=SamplingParams(4, temperature=1.0))) for n in range(2)]
        assert drawn[0].seed != drawn[1].seed
        await asyncio.gather(*(collect(stream) for stream in drawn))
    assert ids(alone) == ids(among)
    assert ids(alone) != expected_output([1, 2, 3], 12)


async def test_logprobs_on_request_only():
    async with running_engine(small_stack(), 1) as (engine, _):
        sampling = SamplingParams(3, top_logprobs=2)
        with_them, _ = await collect(engine.submit(request("a", [1, 2, 3], sampling=sampling)))
        without, _ = await collect(engine.submit(request("b", [1, 2, 3], 3)))
    row = reference_rows([1, 2, 3], [2])[0].astype(np.float64)
    expected = row - np.log(np.exp(row).sum())
    assert with_them[0].token_id == 14
    assert with_them[0].logprob == pytest.approx(expected[14], abs=1e-6)
    assert [token_id for token_id, _ in with_them[0].top_logprobs] == [14, 13]
    assert without[0].logprob is None and without[0].top_logprobs is None
    assert without[0].logit == row[14]


async def test_a_stop_string_seen_by_the_reader_finishes_the_request():
    async with running_engine(small_stack(step_ms=2.0), 1) as (engine, _):
        stream = engine.submit(request("a", [1, 2, 3], 50))
        async for _ in stream:
            engine.finish("a")
            break
        _, end = await collect(stream)
        assert isinstance(end, Finished) and end.reason == "stop"
        engine.finish("a")
        engine.cancel("a", "too late")
        assert engine.stats()["requests"]["finished_stop"] == 1


async def test_stop_tokens_and_ignore_eos():
    eos_at_2 = [207, 200, 200, 200, 200, 200, 200, 208]  # see test_paged_tokens.py
    async with running_engine(small_stack(), 1) as (engine, _):
        tokens, end = await collect(engine.submit(request("a", eos_at_2, 9)))
        assert (ids(tokens), end.reason) == ([103, 257], "eos")
        tokens, end = await collect(engine.submit(request("b", eos_at_2, 9, stop_token_ids=(103,))))
        assert (ids(tokens), end.reason) == ([103], "stop")
        tokens, end = await collect(engine.submit(request("c", eos_at_2, sampling=SamplingParams(9, ignore_eos=True))))
        assert (len(tokens), end.reason) == (9, "length")


async def test_a_reader_that_falls_behind_is_cancelled_and_others_are_not():
    stack = small_stack()
    stack.serving.http.max_buffered_events = 10
    async with running_engine(stack, 1) as (engine, _):
        stuck = engine.submit(request("stuck", [1, 2], 50))
        tokens, end = await collect(engine.submit(request("quick", [3, 4], 50)))
        assert ids(tokens) == expected_output([3, 4], 50) and isinstance(end, Finished)
        tokens, end = await collect(stuck)
        assert tokens == [] and isinstance(end, Cancelled) and "10 tokens behind" in end.reason
        assert all_free(engine)


async def test_refusals_are_counted_and_leave_nothing():
    stack = small_stack(decode=2)
    stack.serving.queue.max_requests = 3
    async with running_engine(stack, 1) as (engine, _):
        streams = [engine.submit(request(str(n), [n + 1], 30)) for n in range(3)]
        with pytest.raises(QueueFull, match=r"3 requests \(serving.queue.max_requests\)") as full:
            engine.submit(request("more", [1], 3))
        assert full.value.retry_after_s >= 1
        with pytest.raises(InvalidRequest, match="'1' is already running"):
            engine.submit(request("1", [1], 3))
        with pytest.raises(InvalidRequest):
            engine.submit(request("bad", [], 3))
        await asyncio.gather(*(collect(stream) for stream in streams))
        counters = engine.stats()["requests"]
        assert (counters["rejected_queue_full"], counters["rejected_invalid"], counters["finished"]) == (1, 2, 3)
        assert all_free(engine)


async def test_stopping_ends_live_requests_and_ends_agents_sessions():
    async with running_engine(small_stack(step_ms=5.0), 1) as (engine, agents):
        stream = engine.submit(request("a", [1], 60))
        await anext(stream)
        await engine.stop()
        _, end = await collect(stream)
        assert isinstance(end, Failed) and end.kind == "shutdown"
        assert await agents[0].ended() is None


async def test_captured_rows_are_on_disk_before_the_end_is_told(tmp_path):
    stack = small_stack(step_ms=2.0)
    stack.run_dir = str(tmp_path)
    prompts = {f"p{n}": [n + 1] * (5 + n) for n in range(4)}
    async with running_engine(stack, 1) as (engine, _):

        async def one(prompt_id: str, prompt_ids: list[int]) -> None:
            capture = Capture(prompt_id, every=4, positions=(9, 2))
            forced = [7, 6, 5, 4] if prompt_id == "p3" else None
            stream = engine.submit(request(prompt_id, prompt_ids, 10, capture=capture, forced_ids=forced))
            with pytest.raises(InvalidRequest, match="already being captured"):
                engine.submit(request("twice", prompt_ids, 2, capture=capture))
            tokens, end = await collect(stream)
            assert isinstance(end, Finished)
            about = json.loads((tmp_path / "captures" / f"{prompt_id}.json").read_text())
            assert about["prompt_ids"] == prompt_ids and about["generated_ids"] == ids(tokens)
            every = range(len(prompt_ids) - 1, len(prompt_ids) - 1 + len(tokens))
            expected = reference_rows(prompt_ids + about["generated_ids"], list(every)).argmax(axis=1)
            assert about["chosen_ids"] == expected.tolist()  # the model's own, whatever was forced
            last = len(prompt_ids) - 1
            wanted = [p for p in range(last, last + 10) if p in (last, 9) or p % 4 == 0]
            assert about["positions"] == wanted
            assert all(1 <= size <= 4 for size in about["batch_sizes"])
            rows = np.load(tmp_path / "captures" / f"{prompt_id}.npy")
            assert np.array_equal(rows, reference_rows(prompt_ids + about["generated_ids"], wanted))
            if forced:
                assert about["generated_ids"][:4] == forced

        await asyncio.gather(*(one(prompt_id, prompt) for prompt_id, prompt in prompts.items()))
        assert engine.stats()["captures"]["saved"] == 4
        cancelled = engine.submit(request("c", [1], 60, capture=Capture("c", every=1)))
        await anext(cancelled)
        engine.cancel("c", "left")
        await collect(cancelled)
    assert sorted(path.stem for path in (tmp_path / "captures").iterdir()) == sorted([*prompts, *prompts])


async def test_a_capture_that_cannot_be_saved_fails_the_request(tmp_path):
    stack = small_stack()
    stack.run_dir = str(tmp_path)
    (tmp_path / "captures" / "x.npy").mkdir(parents=True)  # the name is taken by a folder
    async with running_engine(stack, 1) as (engine, _):
        _, end = await collect(engine.submit(request("a", [1, 2], 4, capture=Capture("x"))))
        assert isinstance(end, Failed) and end.kind == "capture" and "could not be saved" in end.message
        tokens, _ = await collect(engine.submit(request("b", [1, 2], 4)))
        assert ids(tokens) == expected_output([1, 2], 4)
        assert all_free(engine)


async def test_the_fake_worker_needs_no_agent():
    stack = small_stack()
    stack.serving.fake = Fake.worker
    async with running_engine(stack, 0) as (engine, _):
        assert engine.state == ("ready", "")
        tokens, end = await collect(engine.submit(request("a", [1, 2, 3], 5)))
        assert ids(tokens) == [fake_token(3 + k) for k in range(5)] and isinstance(end, Finished)
        with pytest.raises(InvalidRequest, match=r"serving\.fake"):
            engine.submit(request("b", [1], 2, capture=Capture("x")))
        assert all_free(engine)


async def test_no_agent_no_service():
    async with running_engine(small_stack(), 0) as (engine, _):
        assert engine.state == ("starting", "agent 0 has not connected yet")
        assert not engine.ready
        with pytest.raises(Unavailable, match="starting: agent 0 has not connected yet"):
            engine.submit(request("a", [1], 2))
        assert engine.stats()["requests"]["rejected_unavailable"] == 1
