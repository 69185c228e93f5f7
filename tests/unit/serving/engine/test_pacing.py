"""When the next step is planned: late enough for newcomers, early enough for the device."""

from __future__ import annotations

from serving.engine.pacing import Pacing
from serving.engine.plan import StepPlan
from serving.link.step import StepKind


def plan(kind: StepKind, num_tokens: int) -> StepPlan:
    return StepPlan(kind, input_ids=[0] * num_tokens)


def test_nothing_is_planned_ahead_of_an_unknown_step():
    assert Pacing().lead_ns(plan(StepKind.decode, 4)) is None


def test_long_steps_are_planned_behind_shortly_before_their_end():
    pacing = Pacing()
    pacing.observe(plan(StepKind.decode, 4), 100_000_000)
    lead_ns = pacing.lead_ns(plan(StepKind.decode, 5))
    assert lead_ns is not None and 90_000_000 < lead_ns < 97_000_000


def test_short_steps_are_planned_behind_at_once():
    pacing = Pacing()
    pacing.observe(plan(StepKind.decode, 1), 200_000)
    assert pacing.lead_ns(plan(StepKind.decode, 1)) == 0


def test_kinds_and_sizes_are_kept_apart_and_follow_the_newest_steps():
    pacing = Pacing()
    pacing.observe(plan(StepKind.decode, 1), 20_000_000)
    assert pacing.lead_ns(plan(StepKind.prefill, 1)) is None
    assert pacing.lead_ns(plan(StepKind.decode, 64)) is None
    before = pacing.lead_ns(plan(StepKind.decode, 1))
    for _ in range(30):
        pacing.observe(plan(StepKind.decode, 1), 40_000_000)
    after = pacing.lead_ns(plan(StepKind.decode, 1))
    assert before is not None and after is not None
    assert 15_000_000 < after - before < 20_000_000
