"""Live requests of one agent: turns outcomes into events and ends every request exactly once. Knows no scheduler."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass

from serving.engine.captures import CaptureFile, CaptureStore
from serving.engine.counters import Counters
from serving.engine.plan import StepPlan
from serving.engine.request import Cancelled, Failed, Finished, FinishReason, Terminal, Token
from serving.engine.scheduler import Outcome
from serving.engine.sequence import Sequence
from serving.engine.stream import ResultStream
from serving.engine.worker import StepResult


@dataclass(slots=True, eq=False)
class LiveRequest:
    """A request between submit and its terminal event."""

    sequence: Sequence
    stream: ResultStream
    capture: CaptureFile | None


class LiveRequests:
    """By request id. What has left the scheduler but is still being saved counts as live."""

    def __init__(self, captures: CaptureStore, counters: Counters) -> None:
        self._captures = captures
        self._counters = counters
        self._live: dict[str, LiveRequest] = {}
        self._num_saving = 0

    def __len__(self) -> int:
        return len(self._live) + self._num_saving

    def get(self, request_id: str) -> LiveRequest | None:
        """The live request, or None if it has ended or never was."""
        return self._live.get(request_id)

    def open(self, live: LiveRequest) -> None:
        """A request has been submitted."""
        self._live[live.sequence.request.request_id] = live
        live.sequence.timings.submitted_ns = time.monotonic_ns()
        self._counters.submitted += 1
        self._counters.prompt_tokens += live.sequence.num_prompt

    def publish(self, plan: StepPlan, outcomes: Iterable[Outcome], result: StepResult) -> None:
        """Hand the tokens of one step to their readers."""
        now_ns = time.monotonic_ns()
        logits_rows = {index: row for row, index in enumerate(plan.logits_rows)} if plan.logits_rows else {}
        count = 0
        for outcome in outcomes:
            sequence, index = outcome.sequence, outcome.index
            live = self._live.get(sequence.request.request_id)
            if live is None:
                continue
            token = Token(outcome.token_id, result.token_logits[index], sequence.num_output - 1, now_ns)
            top_logprobs = sequence.request.sampling.top_logprobs
            if top_logprobs is not None and result.logprobs is not None and result.top_logprobs is not None:
                token.logprob = result.logprobs[index]
                token.top_logprobs = result.top_logprobs[index][:top_logprobs]
            if token.index == 0:
                sequence.timings.first_token_ns = now_ns
            if live.capture is not None:
                live.capture.chosen_ids.append(result.token_ids[index])
                if index in logits_rows:
                    assert result.logits is not None
                    row = result.logits[logits_rows[index]]
                    self._captures.add(live.capture, plan.context_lengths[index] - 1, len(plan.sequences), row)
            count += 1
            live.stream.put(token)
            if outcome.reason is not None and not live.stream.ended:
                self.finish(live, outcome.reason)
        self._counters.output_tokens += count

    def finish(self, live: LiveRequest, reason: FinishReason) -> None:
        """The output is whole; captured rows get their names before the reader hears of it."""
        sequence = live.sequence
        event = Finished(
            reason=reason,
            timings=sequence.timings,
            num_prompt_tokens=sequence.num_prompt,
            num_output_tokens=sequence.num_output,
            num_cached_tokens=sequence.num_reused_tokens,
            num_preemptions=sequence.num_preemptions,
        )
        if live.capture is None:
            self._end(live, event)
            return
        del self._live[sequence.request.request_id]
        self._num_saving += 1
        loop = asyncio.get_running_loop()
        self._captures.save(
            live.capture,
            sequence.ids[sequence.num_prompt :],
            lambda future: loop.call_soon_threadsafe(self._saved, live, event, future),
        )

    def _saved(self, live: LiveRequest, event: Finished, future: Future[None]) -> None:
        self._num_saving -= 1
        assert live.capture is not None
        error = future.exception()
        self._captures.closed(live.capture, saved=error is None)
        live.capture = None
        self._live[live.sequence.request.request_id] = live
        if error is None:
            self._end(live, event)
        else:
            self._end(live, Failed(f"captured logits could not be saved: {error}", "capture", event.timings))

    def cancel(self, live: LiveRequest, reason: str) -> None:
        """Nobody wants the rest."""
        self._end(live, Cancelled(reason, live.sequence.timings))

    def fail_all(self, message: str, kind: str) -> None:
        """End every request that is not already being saved."""
        for live in list(self._live.values()):
            self._end(live, Failed(message, kind, live.sequence.timings))

    def _end(self, live: LiveRequest, event: Terminal) -> None:
        del self._live[live.sequence.request.request_id]
        event.timings.ended_ns = time.monotonic_ns()
        if live.capture is not None:
            self._captures.closed(live.capture, saved=False)
        counters = self._counters
        match event:
            case Finished(reason="eos"):
                counters.finished_eos += 1
            case Finished(reason="length"):
                counters.finished_length += 1
            case Finished():
                counters.finished_stop += 1
            case Failed():
                counters.failed += 1
            case Cancelled():
                counters.cancelled += 1
        live.stream.end(event)
