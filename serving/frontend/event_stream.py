"""One streamed HTTP body: chunks straight to the transport, a slow reader detected, an unfinished body visible.

aiohttp's own write() makes the writer wait for a slow reader; a token stream must rather go on, so that nobody else
waits, and give the reader up. (It also costs a tenth more of the front end's time per token.)
"""

from __future__ import annotations

import asyncio

from aiohttp import HttpVersion11, web

FLUSH_TIMEOUT_S = 30.0  # what is left in the buffer at the end must go out within this


class ClientTooSlow(Exception):
    """The client reads so slowly that more than the allowed number of events wait for it."""


class EventStream:
    """The body of one 200 answer, begun by its first piece: until then the status is still open."""

    def __init__(self, request: web.BaseRequest, headers: dict[str, str], max_buffered_events: int) -> None:
        self._request = request
        self._limit = max_buffered_events
        self._num_behind = 0  # events written since the client stopped draining the buffer
        self.response = web.StreamResponse(headers=headers)
        # HTTP/1.0 has no chunks: there the end of the connection ends the body
        self._chunked = request.version >= HttpVersion11
        if self._chunked:
            self.response.enable_chunked_encoding()

    @property
    def begun(self) -> bool:
        """Whether the status line has been sent."""
        return self.response.prepared

    async def write(self, piece: bytes, num_events: int) -> None:
        """Send a piece now. Raises ClientTooSlow, or ConnectionResetError if the client has left."""
        if not self.response.prepared:
            await self.response.prepare(self._request)
        protocol = self._request.protocol
        transport = protocol.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has left")
        if protocol.writing_paused:
            self._num_behind += num_events
            if self._num_behind > self._limit:
                transport.abort()
                raise ClientTooSlow(
                    f"the client is {self._num_behind} tokens behind (serving.http.max_buffered_events)"
                )
        else:
            self._num_behind = 0
        transport.write(b"%x\r\n%b\r\n" % (len(piece), piece) if self._chunked else piece)

    async def finish(self, piece: bytes) -> None:
        """Send the last piece and the end of the body; a client that does not take it in time is cut off."""
        if not self.response.prepared:
            await self.response.prepare(self._request)
        try:
            async with asyncio.timeout(FLUSH_TIMEOUT_S):
                await self.response.write_eof(piece)
        except TimeoutError:
            transport = self._request.transport
            if transport is not None:
                transport.abort()
            raise ClientTooSlow(f"the client did not take the end of its answer in {FLUSH_TIMEOUT_S:g} s") from None

    async def fail(self, piece: bytes, breaks_off: bool) -> None:
        """Send the piece that tells of the failure, then end the body, or close without its end."""
        if not breaks_off:
            await self.finish(piece)
            return
        await self.write(piece, 1)
        transport = self._request.transport
        if transport is not None:
            transport.close()
