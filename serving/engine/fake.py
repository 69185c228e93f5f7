"""serving.fake=worker: steps answered inside the engine, without a link, by the token rule of serving/fake.py."""

from __future__ import annotations

import asyncio
import os
import time

from serving.engine.plan import StepPlan
from serving.engine.worker import OnResult, StepResult
from serving.fake import fake_token


class FakeWorker:
    """Answers each step in the next turn of the event loop."""

    def __init__(self, on_result: OnResult) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_result = on_result
        self._closed = False

    @property
    def pid(self) -> int:
        """This process."""
        return os.getpid()

    def send(self, plan: StepPlan, number: int) -> int:
        """Answer soon."""
        token_ids = [fake_token(length) for length in plan.context_lengths]
        now = time.monotonic_ns()
        zeros = [0.0] * len(token_ids)
        result = StepResult(number, token_ids, zeros, None, None, None, now, 0, 0, 0, now, now)
        self._loop.call_soon(self._answer, result)
        return now

    def _answer(self, result: StepResult) -> None:
        if not self._closed:
            self._on_result(result)

    def close(self) -> None:
        """Drop what is unanswered."""
        self._closed = True
