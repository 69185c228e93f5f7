"""Drives one agent: requests in, steps out, events back. The only place where scheduler, worker and clock meet.

Everything happens in callbacks of the event loop: a request, a reply or a timer each try to plan the next step. After
a reply the next step is sent first and the tokens are published while the device runs.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from serving.config import ServingConfig
from serving.engine.block_manager import BlockAccountingError
from serving.engine.live import LiveRequest, LiveRequests
from serving.engine.pacing import Pacing
from serving.engine.plan import StepPlan
from serving.engine.policy import max_steps_in_flight
from serving.engine.scheduler import Scheduler
from serving.engine.step_ring import StepRing, StepTimes
from serving.engine.worker import StepResult, Worker


@dataclass(slots=True)
class _Flight:
    """A step that is sent and not answered."""

    plan: StepPlan
    number: int
    planned_ns: int
    sent_ns: int
    continuing: bool  # planned as soon as it could be: the device waited for nothing but us


class EngineLoop:
    """One agent's queue and steps. Without a worker it takes no requests."""

    def __init__(self, device_index: int, serving: ServingConfig, live: LiveRequests) -> None:
        self.device_index = device_index
        self.live = live
        self.ring = StepRing(serving.num_steps_kept)
        self.scheduler = Scheduler(serving)
        self.worker: Worker | None = None
        self.num_attached = 0  # agents so far: one more than restarts
        self.detail = f"agent {device_index} has not connected yet"  # why there is no worker
        self._serving = serving
        self._depth = max_steps_in_flight(serving)
        self._pacing = Pacing()
        self._flights: deque[_Flight] = deque()
        self._num_steps = 0
        self._head_started_ns = 0  # when the device began the oldest step in flight
        self._device_done_ns = 0  # when the device ended its last step
        self._kicked = False
        self._plan_timer: asyncio.TimerHandle | None = None
        self._watchdog: asyncio.TimerHandle | None = None
        self._give_up: Callable[[str], None] | None = None

    def attach(self, worker: Worker, give_up: Callable[[str], None]) -> None:
        """An agent is ready. `give_up` ends its link, which must lead to lost()."""
        self.worker = worker
        self.num_attached += 1
        self._give_up = give_up
        self._num_steps = 0

    def lost(self, message: str, kind: str) -> None:
        """The agent has gone: end its requests, and wait for another with clean books."""
        pid = self.worker.pid if self.worker is not None else 0
        self.worker = None
        self._give_up = None
        self.detail = f"agent {self.device_index} (pid {pid}) was lost: {message}"
        self._flights.clear()
        self._cancel_timers()
        self.scheduler = Scheduler(self._serving)
        self._pacing = Pacing()
        self.live.fail_all(self.detail, kind)

    def stop(self) -> None:
        """End every request and the session of the agent."""
        worker, self.worker = self.worker, None
        self._cancel_timers()
        self._flights.clear()
        self.live.fail_all("the server is shutting down", "shutdown")
        if worker is not None:
            worker.close()

    def submit(self, live: LiveRequest) -> None:
        """Queue a request; it joins the next step that is planned."""
        self.live.open(live)
        self.scheduler.add(live.sequence)
        self._kick()

    def drop(self, live: LiveRequest) -> None:
        """Take a request out of the queue or the running set; its blocks are free within a step."""
        self.scheduler.drop(live.sequence)
        self._kick()

    def _kick(self) -> None:
        """Plan in this turn of the event loop, once, after all requests that arrived in it."""
        if not self._kicked:
            self._kicked = True
            asyncio.get_running_loop().call_soon(self._on_kick)

    def _on_kick(self) -> None:
        self._kicked = False
        self._advance(continuing=bool(self._flights))

    def _on_plan_timer(self) -> None:
        self._plan_timer = None
        self._advance(continuing=True)

    def _advance(self, continuing: bool) -> None:
        """Send steps as long as there is work and room for another step in flight."""
        worker = self.worker
        while worker is not None and len(self._flights) < self._depth:
            if self._flights and not self._lead_is_over(self._flights[0].plan):
                return
            planned_ns = time.monotonic_ns()
            plan = self.scheduler.plan()
            if plan is None:
                break
            for sequence in plan.sequences if plan.kind == plan.kind.prefill else ():
                if sequence.timings.scheduled_ns == 0:
                    sequence.timings.scheduled_ns = planned_ns
            self._num_steps += 1
            sent_ns = worker.send(plan, self._num_steps)
            if not self._flights:
                self._head_started_ns = sent_ns
            self._flights.append(_Flight(plan, self._num_steps, planned_ns, sent_ns, continuing))
            continuing = True
            if self._watchdog is None:
                self._watch(self._serving.agent.step_timeout_s)
        if not self._flights and self.scheduler.idle:
            self._check_idle()

    def _lead_is_over(self, head: StepPlan) -> bool:
        """Whether it is time to plan the step behind `head`; if not, a timer will say so, or the reply."""
        lead_ns = self._pacing.lead_ns(head)
        if lead_ns is None:
            return False
        remaining_ns = self._head_started_ns + lead_ns - time.monotonic_ns() if lead_ns else 0
        if remaining_ns <= 0:
            return True
        if self._plan_timer is None:
            self._plan_timer = asyncio.get_running_loop().call_later(remaining_ns / 1e9, self._on_plan_timer)
        return False

    def on_result(self, result: StepResult) -> None:
        """A reply: take its tokens, send the next step, then publish."""
        flight = self._flights.popleft()
        if self._plan_timer is not None:
            self._plan_timer.cancel()
            self._plan_timer = None
        previous_start_ns, self._head_started_ns = self._head_started_ns, result.arrived_ns
        previous_done_ns, self._device_done_ns = self._device_done_ns, result.sent_ns
        self._pacing.observe(flight.plan, result.sent_ns - result.received_ns)
        outcomes = self.scheduler.complete(flight.plan, result.token_ids)
        self._advance(continuing=True)
        publish_ns = time.monotonic_ns()
        self.live.publish(flight.plan, outcomes, result)
        self.ring.add(
            StepTimes(
                kind=flight.plan.kind,
                ended_ns=result.arrived_ns,
                num_seqs=len(flight.plan.sequences),
                num_tokens=len(flight.plan.input_ids),
                context_tokens=sum(flight.plan.context_lengths),
                num_waiting=len(self.scheduler.waiting),
                kv_blocks_used=self.scheduler.blocks.num_used,
                step_ns=result.arrived_ns - max(flight.planned_ns, previous_start_ns if flight.continuing else 0),
                plan_ns=flight.sent_ns - flight.planned_ns,
                link_out_ns=result.received_ns - max(flight.sent_ns, previous_done_ns),
                agent_pre_ns=result.pre_ns,
                forward_ns=result.forward_ns,
                sample_ns=result.sample_ns,
                link_back_ns=result.arrived_ns - result.sent_ns,
                publish_ns=time.monotonic_ns() - publish_ns,
                device_gap_ns=result.received_ns - previous_done_ns if flight.continuing else 0,
            )
        )

    def _check_idle(self) -> None:
        """Broken books would give wrong tokens later: better no agent than that."""
        try:
            self.scheduler.check_idle()
        except BlockAccountingError as error:
            if self._give_up is not None:
                self._give_up(f"block accounting is broken: {error}")

    def _watch(self, delay_s: float) -> None:
        self._watchdog = asyncio.get_running_loop().call_later(delay_s, self._on_watchdog)

    def _on_watchdog(self) -> None:
        self._watchdog = None
        if not self._flights:
            return
        limit_s = self._serving.agent.step_timeout_s
        waited_s = (time.monotonic_ns() - max(self._flights[0].sent_ns, self._head_started_ns)) / 1e9
        if waited_s < limit_s - 0.01:
            self._watch(limit_s - waited_s)
        elif self._give_up is not None:
            self._give_up(f"no reply to a step for {waited_s:.0f} s (serving.agent.step_timeout_s)")

    def _cancel_timers(self) -> None:
        for timer in (self._plan_timer, self._watchdog):
            if timer is not None:
                timer.cancel()
        self._plan_timer = self._watchdog = None

    def stats(self) -> dict[str, object]:
        """Gauges of this agent and its step timings."""
        scheduler = self.scheduler
        blocks = scheduler.blocks
        return {
            "device_index": self.device_index,
            "ready": self.worker is not None,
            "detail": "" if self.worker is not None else self.detail,
            "agents_attached": self.num_attached,
            "pid": self.worker.pid if self.worker is not None else None,
            "requests_live": len(self.live),
            "requests_waiting": len(scheduler.waiting),
            "requests_running": len(scheduler.running),
            "batch_size_limit": self._serving.batch.decode,
            "kv_blocks_total": blocks.num_total,
            "kv_blocks_used": blocks.num_used,
            "preemptions": scheduler.num_preemptions,
            "prefix_prompt_tokens": scheduler.num_prompt_tokens,
            "prefix_reused_tokens": scheduler.num_reused_tokens,
            "prefix_hit_rate": scheduler.num_reused_tokens / max(1, scheduler.num_prompt_tokens),
            "steps_total": self.ring.count,
            "steps": self.ring.summary(),
            "step_time_histogram": self.ring.histogram(),
        }
