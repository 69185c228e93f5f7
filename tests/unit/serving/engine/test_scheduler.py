"""Admission, policies, preemption and bookkeeping of the scheduler, on plans alone."""

from __future__ import annotations

import pytest

from serving.config import Policy
from serving.engine.block_manager import BlockAccountingError
from tests.support.engine import EngineForTests, expected_output, small_stack


def kinds(engine: EngineForTests) -> str:
    """Steps so far: P3 = a prefill step of three sequences, D2 = a decode step of two."""
    return " ".join(f"{kind[0].upper()}{count}" for kind, count, _ in engine.steps)


def run_two_waves(policy: Policy) -> str:
    """Two requests run; three steps later three more come; all ask for six tokens. Lock-step."""
    engine = EngineForTests(small_stack(policy=policy, decode=5, num_blocks=60, pipeline=False))
    for _ in range(2):
        engine.submit([1, 2, 3], 6)
    for _ in range(3):
        engine.send()
        engine.answer()
    for _ in range(3):
        engine.submit([4, 5, 6, 7], 6)
    engine.run()
    return kinds(engine)


def test_prefill_first_packs_waiting_prompts_at_once():
    assert run_two_waves(Policy.prefill_first) == "P2 D2 D2 P3 D5 D5 D5 D3 D3"


def test_decode_first_never_holds_up_running_sequences():
    assert run_two_waves(Policy.decode_first) == "P2 D2 D2 D2 D2 D2 P3 D3 D3 D3 D3 D3"


def test_original_takes_one_prompt_per_step_before_any_decode():
    assert run_two_waves(Policy.original) == "P1 P1 D2 P1 P1 P1 D5 D5 D5 D5 D3"


def test_balanced_decodes_between_prefill_steps():
    engine = EngineForTests(small_stack(policy=Policy.balanced, decode=5, num_blocks=60, max_prompts=1, pipeline=False))
    for _ in range(3):
        engine.submit([1, 2, 3], 4)
    engine.run()
    assert kinds(engine) == "P1 D1 P1 D2 P1 D3 D2 D1"


def test_pipelining_keeps_two_steps_in_flight_and_lock_step_one():
    for pipeline, depth in ((True, 2), (False, 1)):
        engine = EngineForTests(small_stack(pipeline=pipeline))
        engine.submit([1, 2, 3], 8)
        while engine.send():
            continue
        assert len(engine.flights) == depth
    assert EngineForTests(small_stack(policy=Policy.original)).depth == 1


def test_length_is_known_ahead_so_no_step_is_wasted():
    engine = EngineForTests(small_stack())
    engine.submit([1, 2, 3], 5)
    engine.run()
    assert kinds(engine) == "P1 D1 D1 D1 D1"


def test_prefill_is_bounded_by_prompts_tokens_and_places():
    engine = EngineForTests(small_stack(decode=3, max_prompts=2, max_tokens=10, num_blocks=100))
    for _ in range(5):
        engine.submit([1] * 4, 3)
    engine.send()
    engine.send()
    assert [step[:2] for step in engine.steps] == [("prefill", 2), ("prefill", 1)]
    tokens = EngineForTests(small_stack(decode=4, max_prompts=4, max_tokens=10, num_blocks=100))
    for _ in range(3):
        tokens.submit([1] * 4, 3)
    tokens.send()
    assert tokens.steps == [("prefill", 2, 8)]


def test_a_prompt_over_max_tokens_goes_alone_and_in_its_turn():
    engine = EngineForTests(small_stack(max_tokens=10, num_blocks=100, pipeline=False))
    engine.submit([1] * 4, 1)
    engine.submit([2] * 30, 1)
    engine.submit([3] * 4, 1)
    engine.run()
    assert engine.steps == [("prefill", 1, 4), ("prefill", 1, 30), ("prefill", 1, 4)]


def test_admission_waits_for_blocks_in_order_of_arrival():
    engine = EngineForTests(small_stack(num_blocks=17, block_size=4, pipeline=False))
    engine.submit([1] * 40, 2)  # 10 of 16 blocks
    engine.submit([2] * 30, 2)  # 8: does not fit
    engine.submit([3] * 4, 2)  # 1: would fit, but it is not its turn
    engine.send()
    assert engine.steps == [("prefill", 1, 40)]
    assert len(engine.scheduler.waiting) == 2
    engine.answer()
    engine.run()
    assert engine.steps[1:3] == [("decode", 1, 1), ("prefill", 2, 34)]


def test_the_newest_sequence_is_preempted_and_the_oldest_runs_on():
    engine = EngineForTests(small_stack(num_blocks=17, block_size=4, decode=2))
    old = engine.submit([1] * 24, 40)
    new = engine.submit([2] * 24, 40)
    engine.run()
    assert old.num_preemptions == 0 and new.num_preemptions >= 1
    assert engine.outputs == {"1": expected_output([1] * 24, 40), "2": expected_output([2] * 24, 40)}


def test_dropping_frees_blocks_at_once_or_with_the_last_reply():
    engine = EngineForTests(small_stack())
    running, waiting = engine.submit([1] * 8, 9), None
    engine.send()
    waiting = engine.submit([2] * 8, 9)
    engine.scheduler.drop(waiting)
    engine.scheduler.drop(running)
    assert engine.scheduler.blocks.num_used == 2  # a step in flight still writes to them
    assert not engine.scheduler.idle
    engine.answer()
    assert engine.scheduler.blocks.num_used == 0
    engine.scheduler.check_idle()
    assert engine.outputs == {"1": [], "2": []}


def test_forced_ids_are_appended_and_fed():
    engine = EngineForTests(small_stack())
    sequence = engine.submit([1, 2, 3], 4)
    forced = [9, 8]
    object.__setattr__(sequence.request, "forced_ids", forced)
    engine.run()
    assert engine.outputs["1"] == [9, 8, *expected_output([1, 2, 3, 9, 8], 2)]


def test_broken_books_are_noticed_when_idle():
    engine = EngineForTests(small_stack())
    engine.submit([1] * 8, 2)
    engine.run()
    engine.scheduler.blocks.take(1)
    with pytest.raises(BlockAccountingError, match="15 of 16 blocks are free"):
        engine.scheduler.check_idle()
