"""What a reply needs to be able to do, whichever protocol. Encoders turn events into bytes and do no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from serving.engine.request import Event, Finished, Timings


class Reply(Protocol):
    """The answer to one request, encoded piece by piece. One of `stream` or (`collect`, `whole`) is used, not both."""

    stream_type: str  # content types
    whole_type: str
    breaks_off: bool  # after a failure the body is left without its end, since clients would not notice otherwise

    @property
    def stopped(self) -> bool:
        """A stop string was found in the text: the engine need not go on."""
        ...

    def stream(self, events: Sequence[Event]) -> bytes:
        """Body bytes for these events; with the terminal one, all that ends the body, or the failure shown in it."""
        ...

    def collect(self, events: Sequence[Event]) -> None:
        """Remember tokens for `whole`."""
        ...

    def whole(self, finished: Finished) -> bytes:
        """The body of a reply that is not streamed."""
        ...


def timings_field(timings: Timings) -> dict[str, dict[str, float]]:
    """The server timings that a request may ask for, in milliseconds."""
    parts = {"queue_ms": timings.queue_ms, "prefill_ms": timings.prefill_ms, "decode_ms": timings.decode_ms}
    return {"plumbline": {name: round(value, 3) for name, value in parts.items()}}
