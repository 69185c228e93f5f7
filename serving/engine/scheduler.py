"""Plans steps: who prefills, who decodes, with which blocks. Pure: ints and lists, no arrays, clocks or sockets.

Steps run in the order they are planned, and up to two may be unanswered. What is planned may rest on tokens not yet
known (`token_source`); what is freed is freed only when no unanswered step can write to it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from serving.config import ServingConfig
from serving.engine.block_manager import BlockAccountingError, BlockManager
from serving.engine.plan import StepPlan
from serving.engine.policy import max_prompts_per_step, order_of_attempts
from serving.engine.request import FinishReason
from serving.engine.sequence import Sequence
from serving.link.step import StepKind


@dataclass(slots=True)
class Outcome:
    """What a step brought one sequence."""

    index: int  # in the step
    sequence: Sequence
    token_id: int
    reason: FinishReason | None  # not None: this was its last token


class Scheduler:
    """Queue, running set and blocks of one agent."""

    def __init__(self, serving: ServingConfig) -> None:
        self._policy = serving.policy
        self._batch_size = serving.batch.decode
        self._max_prompts = max_prompts_per_step(serving)
        self._max_tokens = serving.prefill.max_tokens
        self._chunked = serving.prefill.chunked
        cache = serving.cache
        self.blocks = BlockManager(cache.num_blocks, cache.block_size, cache.prefix_reuse)
        self.waiting: deque[Sequence] = deque()  # by arrival; preempted ones are older than all that wait
        self.running: list[Sequence] = []  # by arrival
        self._free_rows = list(range(self._batch_size - 1, -1, -1))
        self._num_in_flight = 0
        self._num_draining = 0  # ended sequences whose blocks an unanswered step may still write to
        self._num_prefills_in_a_row = 0
        self.num_preemptions = 0
        self.num_prompt_tokens = 0  # of admitted sequences, recomputed ones included
        self.num_reused_tokens = 0

    @property
    def idle(self) -> bool:
        """Nothing waits, runs or drains."""
        return not (self.waiting or self.running or self._num_draining or self._num_in_flight)

    def add(self, sequence: Sequence) -> None:
        """Put a new sequence at the end of the queue."""
        self.waiting.append(sequence)

    def drop(self, sequence: Sequence) -> None:
        """End a sequence early, wherever it is. Its blocks are free at once or with the reply to its last step."""
        if sequence.row < 0:
            self.waiting.remove(sequence)
            sequence.ended = True
        else:
            self._end(sequence)

    def plan(self) -> StepPlan | None:
        """The next step, or None if there is nothing to do until a reply or a request comes."""
        for kind in order_of_attempts(self._policy, self._num_prefills_in_a_row, self._batch_size):
            plan = self._plan_prefill() if kind is StepKind.prefill else self._plan_decode()
            if plan is not None:
                self._num_in_flight += 1
                self._num_prefills_in_a_row = self._num_prefills_in_a_row + 1 if kind is StepKind.prefill else 0
                return plan
        return None

    def complete(self, plan: StepPlan, token_ids: list[int]) -> list[Outcome]:
        """Take the tokens sampled by a step, in the order the steps were planned."""
        self._num_in_flight -= 1
        outcomes = []
        for index, sequence in enumerate(plan.sequences):
            sequence.in_flight -= 1
            if sequence.ended:
                if sequence.in_flight == 0:
                    self._num_draining -= 1
                    self._release(sequence)
                continue
            if not plan.samples[index]:
                continue
            forced = sequence.forced(sequence.num_output)
            token_id = token_ids[index] if forced is None else forced
            sequence.ids.append(token_id)
            reason = sequence.ends.get(token_id)
            if reason is None and len(sequence.ids) == sequence.last_length:
                reason = "length"
            if reason is not None:
                self._end(sequence)
            outcomes.append(Outcome(index, sequence, token_id, reason))
        return outcomes

    def _plan_prefill(self) -> StepPlan | None:
        plan = StepPlan(StepKind.prefill)
        budget = self._max_tokens
        if self.running and self.running[-1].prefilling:  # only the newest can be half way: see _admit
            budget -= self._add_prefill(plan, self.running[-1], budget)
        while self.waiting and self._free_rows and len(plan.sequences) < self._max_prompts:
            if not self._admit(budget, alone=not plan.sequences):
                break
            budget -= self._add_prefill(plan, self.running[-1], budget)
        for sequence in plan.sequences:
            self._make_findable(sequence)
        return plan if plan.sequences else None

    def _admit(self, budget: int, alone: bool) -> bool:
        """Move the oldest waiting sequence to the running ones if tokens and blocks allow. Never skips one."""
        sequence, blocks = self.waiting[0], self.blocks
        reused: list[int] = []
        chain: list[int] = []
        # The agent collects the tokens to penalise from what it is fed, so such a prompt is fed whole.
        if blocks.index is not None and sequence.request.sampling.repetition_penalty == 1:
            reused, chain = blocks.index.match(sequence.ids)
        num_tokens = len(sequence.ids) - len(reused) * blocks.block_size
        if num_tokens > budget and not (self._chunked and budget > 0) and not alone:
            return False
        needed = blocks.blocks_for(len(sequence.ids)) - len(reused)
        # Each running sequence may need one more block soon; taking the last ones would only end in preemption.
        if needed + len(self.running) > blocks.num_free_beside(reused):
            return False
        self.waiting.popleft()
        blocks.share(reused)
        sequence.blocks = reused + blocks.take(needed)
        sequence.chain = chain
        sequence.num_cached = len(reused) * blocks.block_size
        sequence.num_tabled = 0
        sequence.row = self._free_rows.pop()
        if sequence.num_preemptions == 0:
            sequence.num_reused_tokens = sequence.num_cached
        self.num_prompt_tokens += len(sequence.ids)
        self.num_reused_tokens += sequence.num_cached
        self.running.append(sequence)
        return True

    def _add_prefill(self, plan: StepPlan, sequence: Sequence, budget: int) -> int:
        """Feed what the cache lacks, or the part of it that the budget allows; returns the number of tokens."""
        start = sequence.num_cached
        num_tokens = len(sequence.ids) - start
        if self._chunked:
            num_tokens = min(num_tokens, budget)
        plan.input_ids += sequence.ids[start : start + num_tokens]
        plan.add(sequence, num_tokens)
        return num_tokens

    def _plan_decode(self) -> StepPlan | None:
        ready = [s for s in self.running if not s.prefilling and s.num_cached < s.last_length - 1]
        if not ready:
            return None
        blocks = self.blocks
        growing = [s for s in ready if s.num_cached == len(s.blocks) * blocks.block_size]
        while len(growing) > blocks.num_free:
            if self._num_in_flight:
                return None  # a reply may free blocks; and only what no step writes to may be preempted
            victim = self.running[-1]
            self._preempt(victim)
            ready = [s for s in ready if s is not victim]
            growing = [s for s in growing if s is not victim]
        for sequence in growing:
            sequence.blocks += blocks.take(1)
        plan = StepPlan(StepKind.decode)
        for sequence in ready:
            position = sequence.num_cached
            source = -1
            token_id: int | None
            if position < len(sequence.ids):
                token_id = sequence.ids[position]
            else:
                token_id = sequence.forced(position - sequence.num_prompt)
                if token_id is None:
                    token_id, source = 0, sequence.last_index
            plan.input_ids.append(token_id)
            plan.add(sequence, 1, source)
        return plan

    def _preempt(self, sequence: Sequence) -> None:
        """Give up a sequence's blocks; it prefills prompt and output again when its turn comes."""
        self._leave_running(sequence)
        self._release(sequence)
        sequence.num_cached = 0
        sequence.num_preemptions += 1
        self.num_preemptions += 1
        self.waiting.appendleft(sequence)

    def _end(self, sequence: Sequence) -> None:
        sequence.ended = True
        self._leave_running(sequence)
        if sequence.in_flight:
            self._num_draining += 1
        else:
            self._release(sequence)

    def _leave_running(self, sequence: Sequence) -> None:
        self.running.remove(sequence)
        self._free_rows.append(sequence.row)
        sequence.row = -1

    def _release(self, sequence: Sequence) -> None:
        self._make_findable(sequence)
        self.blocks.release(sequence.blocks)
        sequence.blocks = []

    def _make_findable(self, sequence: Sequence) -> None:
        """Let later steps reuse the full blocks that the steps sent so far fill; the device runs steps in order."""
        if self.blocks.index is not None:
            num_known = min(sequence.num_cached, len(sequence.ids))
            self.blocks.index.register(sequence.ids, num_known, sequence.blocks, sequence.chain)

    def check_idle(self) -> None:
        """Raise BlockAccountingError unless an idle scheduler holds nothing: every block and row free."""
        if not self.idle or len(self._free_rows) != self._batch_size:
            raise BlockAccountingError(f"{self._batch_size - len(self._free_rows)} rows are taken though nothing runs")
        self.blocks.check_idle()
