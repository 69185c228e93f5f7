"""Whatever the load, policy, memory and pipelining: each request gets its batch-1 tokens, and none waits for ever."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.config import Policy
from serving.engine.request import SamplingParams
from tests.support.engine import EngineForTests, expected_output, small_stack

TOKENS = st.integers(0, 255)
# (prompt, max_new_tokens): prompt + output stay within seq_length 64
REQUESTS = st.lists(st.tuples(st.lists(TOKENS, min_size=1, max_size=40), st.integers(1, 24)), min_size=1, max_size=10)
STACKS = st.fixed_dictionaries(
    {
        "policy": st.sampled_from(list(Policy)),
        "decode": st.integers(1, 5),
        "block_size": st.sampled_from([1, 3, 4, 16]),
        "max_prompts": st.integers(1, 4),
        "max_tokens": st.sampled_from([1, 7, 40, 200]),
        "prefix_reuse": st.booleans(),
        "chunked": st.booleans(),
        "pipeline": st.booleans(),
        "spare_blocks": st.sampled_from([0, 1, 7, 100]),
    }
)


def make_engine(options: dict[str, object]) -> EngineForTests:
    """An engine whose cache holds one longest sequence and a few blocks more: preemption is the rule."""
    options = dict(options)
    block_size, spare = options["block_size"], options.pop("spare_blocks")
    assert isinstance(block_size, int) and isinstance(spare, int)
    return EngineForTests(small_stack(num_blocks=1 + -(-64 // block_size) + spare, **options))  # type: ignore[arg-type]


@settings(max_examples=150, deadline=None)
@given(STACKS, REQUESTS, st.lists(st.integers(0, 3), max_size=60), st.randoms(use_true_random=False))
def test_tokens_are_those_of_batch_1(options, requests, moves, random):
    engine = make_engine(options)
    waiting = [(prompt, count, index) for index, (prompt, count) in enumerate(requests)]
    live = []
    cancelled = set()
    for move in moves:
        if move == 0 and waiting:
            prompt, count, _ = waiting.pop(0)
            live.append(engine.submit(prompt, count))
        elif move == 1:
            engine.send()
        elif move == 2:
            engine.answer()
        elif live and random.random() < 0.3:
            victim = live.pop(random.randrange(len(live)))
            if not victim.ended:
                engine.scheduler.drop(victim)
                cancelled.add(victim.request.request_id)
    for prompt, count, _ in waiting:
        engine.submit(prompt, count)
    engine.run()
    for number, (prompt, count) in enumerate(requests, start=1):
        expected = expected_output(prompt, count)
        got = engine.outputs[str(number)]
        if str(number) in cancelled:
            assert got == expected[: len(got)]
            assert str(number) not in engine.reasons
        else:
            assert got == expected
            assert engine.reasons[str(number)] == ("eos" if expected[-1] == 257 else "length")


def test_preemption_happens_and_changes_no_token():
    engine = EngineForTests(small_stack(decode=4, num_blocks=17, block_size=4, seq_length=64))
    prompts = [[(7 * n + k) % 256 for k in range(8)] for n in range(4)]
    for prompt in prompts:
        engine.submit(prompt, 50)
    engine.run()
    assert engine.scheduler.num_preemptions > 0
    for number, prompt in enumerate(prompts, start=1):
        assert engine.outputs[str(number)] == expected_output(prompt, 50)


def test_preemption_keeps_sampling_reproducible():
    """The same seeds give the same tokens with memory to spare and with preemption, batched or alone."""

    def outputs(num_blocks: int, decode: int) -> tuple[list[list[int]], int]:
        engine = EngineForTests(small_stack(decode=decode, num_blocks=num_blocks, block_size=4, seq_length=64))
        for number in range(4):
            sampling = SamplingParams(50, temperature=30.0, top_k=60, top_p=0.95, repetition_penalty=1.3)
            engine.submit([number + 1] * 8, 50, sampling=sampling, seed=number)
        engine.run()
        return list(engine.outputs.values()), engine.scheduler.num_preemptions

    roomy, no_preemptions = outputs(200, 4)
    tight, preemptions = outputs(17, 4)
    alone, _ = outputs(17, 1)
    assert no_preemptions == 0 and preemptions > 0
    assert roomy == tight == alone
    assert len({tuple(output) for output in roomy}) == 4


def test_eos_ends_output_and_the_token_planned_ahead_is_discarded():
    prompt = [207, 200, 200, 200, 200, 200, 200, 208]  # sums to 7271: next 103, then 8198 = 2 * 4099, EOS
    engine = EngineForTests(small_stack(decode=1))
    engine.submit(prompt, 9)
    engine.run()
    assert engine.outputs["1"] == [103, 257]
    assert engine.reasons["1"] == "eos"
    kinds = [kind for kind, _, _ in engine.steps]
    assert kinds == ["prefill", "decode", "decode"]  # the last one was sent before EOS was known


def test_prefix_reuse_saves_prefill_and_changes_no_token():
    engine = EngineForTests(small_stack(prefix_reuse=True, num_blocks=60, decode=2))
    shared = list(range(100, 121))  # 5 full blocks of 4, and one token
    for last in (1, 2, 3):
        engine.submit([*shared, last], 6)
        engine.run()
    assert [tokens for kind, _, tokens in engine.steps if kind == "prefill"] == [22, 2, 2]
    assert engine.scheduler.num_reused_tokens == 40
    for number, last in enumerate((1, 2, 3), start=1):
        assert engine.outputs[str(number)] == expected_output([*shared, last], 6)


def test_chunked_prefill_cuts_a_long_prompt_and_lets_others_decode():
    stack = small_stack(chunked=True, max_tokens=8, policy=Policy.balanced, decode=2, num_blocks=60)
    engine = EngineForTests(stack)
    engine.submit([5, 6, 7], 20)
    engine.send()
    engine.submit(list(range(30)), 4)
    engine.run()
    assert max(tokens for kind, _, tokens in engine.steps if kind == "prefill") <= 8
    prefills = [index for index, (kind, _, _) in enumerate(engine.steps) if kind == "prefill"]
    assert len(prefills) >= 5
    assert all(later - earlier >= 2 for earlier, later in pairwise(prefills))
    assert engine.outputs == {"1": expected_output([5, 6, 7], 20), "2": expected_output(list(range(30)), 4)}


@settings(max_examples=60, deadline=None)
@given(STACKS, REQUESTS, st.lists(st.integers(0, 2), max_size=80))
def test_balanced_bounds_how_long_a_running_sequence_waits(options, requests, moves):
    """Between two prefill steps every sequence that could decode does, unless blocks run out and it is preempted."""
    engine = make_engine({**options, "policy": Policy.balanced})
    waiting = list(requests)
    stalled: dict[int, int] = {}
    longest = 0

    def send() -> None:
        nonlocal longest
        ready = {
            sequence.number: sequence
            for sequence in engine.scheduler.running
            if not sequence.prefilling and sequence.num_cached < sequence.last_length - 1
        }
        if not engine.send():
            return
        plan = engine.flights[-1][0]
        in_step = {sequence.number for sequence in plan.sequences}
        for number, sequence in ready.items():
            stalled[number] = 0 if number in in_step or sequence.row < 0 else stalled.get(number, 0) + 1
            longest = max(longest, stalled[number])

    for move in moves:
        if move == 0 and waiting:
            engine.submit(*waiting.pop(0))
        elif move == 1:
            send()
        else:
            engine.answer()
    for request in waiting:
        engine.submit(*request)
    for _ in range(10_000):
        send()
        send()
        if not engine.answer():
            break
    assert engine.scheduler.idle
    assert longest <= 1


@pytest.mark.parametrize("policy", list(Policy))
def test_an_endless_stream_of_short_requests_starves_nobody(policy):
    """A request that decodes ends although new one-token requests never stop coming."""
    engine = EngineForTests(small_stack(policy=policy, decode=3, num_blocks=40))
    engine.submit([1, 2, 3], 10)
    for _ in range(200):
        engine.submit([4], 1)
        engine.submit([5], 1)
        engine.send()
        engine.answer()
        if "1" in engine.reasons:
            break
    assert engine.reasons["1"] == "length"
    engine.run()
    assert len(engine.reasons) == engine.num_requests
