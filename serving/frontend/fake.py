"""serving.fake=frontend: answers come from here, so that a run measures HTTP, text and nothing behind them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from serving.engine.admission import check_request
from serving.engine.request import Cancelled, Event, Failed, Finished, GenerationRequest, Timings, Token
from serving.fake import fake_token
from serving.frontend.engine_port import EnginePort


class FrontendFake:
    """Output token k is fake_token(len(prompt) + k), one per turn of the event loop.

    The engine behind is started, and agents may dial in as ever, but it gets no request.
    """

    state = ("ready", "serving.fake=frontend")

    def __init__(self, engine: EnginePort, seq_length: int, vocab_size: int) -> None:
        self._engine = engine
        self._seq_length = seq_length
        self._vocab_size = vocab_size
        self._running: dict[str, Event | None] = {}  # request → how it shall end early

    @property
    def link_port(self) -> int:
        return self._engine.link_port

    async def start(self) -> None:
        await self._engine.start()

    async def wait_ready(self) -> None:
        """At once: nothing behind is needed."""

    async def stop(self) -> None:
        for request_id in self._running:
            self._running[request_id] = Failed("the server is shutting down", "shutdown", Timings())
        await self._engine.stop()

    def submit(self, request: GenerationRequest) -> AsyncIterator[list[Event]]:
        check_request(request, self._seq_length, self._vocab_size, has_logits=False)
        self._running[request.request_id] = None
        return self._answer(request)

    def cancel(self, request_id: str, reason: str) -> None:
        if request_id in self._running:
            self._running[request_id] = Cancelled(reason, Timings())

    def finish(self, request_id: str) -> None:
        if request_id in self._running:
            self._running[request_id] = Finished("stop", Timings(), 0, 0)

    def stats(self) -> dict[str, Any]:
        return self._engine.stats()

    def steps(self) -> dict[str, Any]:
        return self._engine.steps()

    async def _answer(self, request: GenerationRequest) -> AsyncIterator[list[Event]]:
        submitted_ns = time.monotonic_ns()
        num_prompt, num_output = len(request.prompt_ids), request.sampling.max_new_tokens
        try:
            for index in range(num_output):
                await asyncio.sleep(0)
                early = self._running[request.request_id]
                if early is not None:
                    yield [early]
                    return
                token = Token(fake_token(num_prompt + index), 0.0, index, time.monotonic_ns())
                if index + 1 < num_output:
                    yield [token]
            ended_ns = token.time_ns
            timings = Timings(submitted_ns, submitted_ns, submitted_ns, ended_ns)
            yield [token, Finished("length", timings, num_prompt, num_output)]
        finally:
            del self._running[request.request_id]
