"""The events of one request on their way to its reader: bounded, batched, one terminal event. Knows no engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from serving.engine.request import Event, Terminal, Token


class ResultStream:
    """Async iterator over lists of events: each list holds all that was ready, the last ends with a Terminal.

    One reader only. After the terminal event iteration stops.
    """

    __slots__ = ("_ended", "_events", "_limit", "_on_overflow", "_waiter", "request_id", "seed")

    def __init__(self, request_id: str, seed: int, limit: int, on_overflow: Callable[[str, int], None]) -> None:
        self.request_id = request_id
        self.seed = seed  # the seed in use, drawn by the engine if the request had none
        self._events: list[Event] = []
        self._limit = limit
        self._on_overflow = on_overflow
        self._waiter: asyncio.Future[None] | None = None
        self._ended = False

    def put(self, event: Token) -> None:
        """Add a token. A reader that is `limit` events behind is reported, to be cancelled, and its backlog dropped."""
        events = self._events
        if len(events) < self._limit:
            events.append(event)
            self._wake()
        elif not self._ended:
            events.clear()
            self._on_overflow(self.request_id, self._limit)

    def end(self, event: Terminal) -> None:
        """Add the terminal event; a second one is a programming error."""
        if self._ended:
            raise RuntimeError(f"request {self.request_id} ended twice: {event}")
        self._ended = True
        self._events.append(event)
        self._wake()

    @property
    def ended(self) -> bool:
        """Whether the terminal event has been put (it may not have been read yet)."""
        return self._ended

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def __aiter__(self) -> ResultStream:
        return self

    async def __anext__(self) -> list[Event]:
        if not self._events:
            if self._ended:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        events = self._events
        self._events = []
        return events
