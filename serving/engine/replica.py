"""The agents that together run one model, one per device: each step goes to all, and ends when all have answered.

With serving.agent.tensor_parallel=1 that is a single agent. More are verified with the arithmetic model, which every
rank computes whole; a model split over devices is not verified on device. Every rank samples for itself, from equal
logits and the same seeds, so nothing but the step has to be told; ranks that disagree end the replica.
"""

from __future__ import annotations

from collections import deque

from serving.engine.agent_link import AgentLink
from serving.engine.plan import StepPlan
from serving.engine.worker import OnResult, StepResult
from serving.link.errors import LinkClosed, RanksDisagree


class Replica:
    """A Worker over `size` links; the first rank's is written to, the others get copies."""

    def __init__(self, size: int, on_result: OnResult) -> None:
        self._size = size
        self._on_result = on_result
        self._members: dict[int, AgentLink] = {}
        self._answers: list[deque[StepResult]] = [deque() for _ in range(size)]

    def has(self, rank: int) -> bool:
        """Whether this rank's agent has connected."""
        return rank in self._members

    @property
    def complete(self) -> bool:
        """Whether every rank's agent has connected."""
        return len(self._members) == self._size

    @property
    def pid(self) -> int:
        """Process id of the first rank's agent."""
        return self._members[0].pid

    def join(self, rank: int, link: AgentLink) -> None:
        """An agent has connected."""
        self._members[rank] = link

    def leave(self, rank: int) -> None:
        """An agent has gone."""
        del self._members[rank]

    def send(self, plan: StepPlan, number: int) -> int:
        """Start one step on every rank."""
        leader = self._members[0]
        sent_ns = leader.send(plan, number)
        for rank in range(1, self._size):
            self._members[rank].repeat(leader)
        return sent_ns

    def on_result(self, rank: int, result: StepResult) -> None:
        """One rank's reply; the last one's makes the step's result, which is the first rank's with the last instant."""
        if self._size == 1:
            self._on_result(result)
            return
        self._answers[rank].append(result)
        if not all(self._answers):
            return
        first, *others = [answers.popleft() for answers in self._answers]
        if any(other.token_ids != first.token_ids for other in others):
            self._members[0].give_up(RanksDisagree(f"step {first.number}: the ranks chose different tokens"))
            return
        first.arrived_ns = result.arrived_ns
        self._on_result(first)

    def give_up(self, message: str) -> None:
        """The engine has lost patience: end the first link, which ends the replica."""
        self._members[0].give_up(LinkClosed(message))

    def close(self) -> None:
        """No more steps; the agents leave."""
        for link in self._members.values():
            link.close()
