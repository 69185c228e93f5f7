"""What the engine loop needs of whoever runs its steps. Knows neither the link nor the fakes behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from serving.engine.plan import StepPlan
from serving.link.step import Float32


@dataclass(slots=True)
class StepResult:
    """The answer to one step. Instants are time.monotonic_ns()."""

    number: int
    token_ids: list[int]  # per sequence, as sampled
    token_logits: list[float]  # raw
    logprobs: list[float] | None  # per sequence, if any wanted it
    top_logprobs: list[list[tuple[int, float]]] | None  # per sequence, most likely first, MAX_TOP_LOGPROBS each
    logits: Float32 | None  # [num_logits_rows, vocab_size], a copy
    received_ns: int  # the agent had read the step
    pre_ns: int
    forward_ns: int
    sample_ns: int
    sent_ns: int  # the agent sent the reply
    arrived_ns: int  # it was read here


class Worker(Protocol):
    """Runs steps in order, at most two at a time, and answers each through the callback it was given."""

    @property
    def pid(self) -> int:
        """Process id of the agent; that of this process for a fake."""
        ...

    def send(self, plan: StepPlan, number: int) -> int:
        """Start one step; returns the instant at which its arrays were written and the message was about to leave."""
        ...

    def close(self) -> None:
        """No more steps; the agent leaves."""
        ...


OnResult = Callable[[StepResult], None]
OnLost = Callable[[str, str], None]  # (message, kind of Failed)
