"""What the front end asks of an engine: the part of serving.engine.router.Engine that it uses. A fake has it too."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Protocol

from serving.engine.request import Event, GenerationRequest


class EnginePort(Protocol):
    """Generates tokens. Every submitted request's stream ends with exactly one terminal event."""

    @property
    def link_port(self) -> int:
        """Where agents dial in; 0 if none are wanted."""
        ...

    @property
    def state(self) -> tuple[str, str]:
        """("ready" | "starting" | "no agent", detail)."""
        ...

    async def start(self) -> None: ...

    async def wait_ready(self) -> None:
        """Return once requests are taken."""
        ...

    async def stop(self) -> None:
        """End every request with a failure of kind "shutdown"."""
        ...

    def submit(self, request: GenerationRequest) -> AsyncIterator[list[Event]]:
        """Raises QueueFull, Unavailable or InvalidRequest."""
        ...

    def cancel(self, request_id: str, reason: str) -> None:
        """Nobody wants the rest; nothing happens if it has ended."""
        ...

    def finish(self, request_id: str) -> None:
        """The answer is complete, by a stop string; nothing happens if it has ended."""
        ...

    def stats(self) -> dict[str, Any]: ...

    def steps(self) -> dict[str, Any]: ...
