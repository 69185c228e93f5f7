"""Who goes first when prompts wait while sequences decode. A pure choice; knows no queues and no blocks.

prefill_first: prompts, as long as places and blocks last. Highest occupancy, decode pauses while prompts come in.
decode_first:  prompts only when nothing is left to decode: running sequences are never held up (static batching).
balanced:      at most one prefill step between two decode steps: the pause is bounded.
original:      as prefill_first, but one prompt per prefill step, and no pipelining: the contest stack.
"""

from __future__ import annotations

from serving.config import Policy, ServingConfig
from serving.link.step import StepKind

_PREFILL_THEN_DECODE = (StepKind.prefill, StepKind.decode)
_DECODE_THEN_PREFILL = (StepKind.decode, StepKind.prefill)


def order_of_attempts(policy: Policy, num_prefills_in_a_row: int, batch_size: int) -> tuple[StepKind, StepKind]:
    """Which kind of step to try first, and which if there is nothing to do of that kind.

    `batch_size` prefill steps in a row have filled any batch; one more before a decode step could only mean a stream of
    requests that end at their first token, behind which running sequences would starve.
    """
    if policy is Policy.decode_first:
        return _DECODE_THEN_PREFILL
    limit = 1 if policy is Policy.balanced else batch_size
    return _PREFILL_THEN_DECODE if num_prefills_in_a_row < limit else _DECODE_THEN_PREFILL


def max_prompts_per_step(serving: ServingConfig) -> int:
    """How many prompts one prefill step may hold."""
    return 1 if serving.policy is Policy.original else serving.prefill.max_prompts


def max_steps_in_flight(serving: ServingConfig) -> int:
    """2 = the next step is planned while the device runs the current one; 1 = lock-step."""
    return 2 if serving.pipeline and serving.policy is not Policy.original else 1
