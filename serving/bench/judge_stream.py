"""One streamed answer in the contest's protocol, read as its client reads it: every line parsed, the last one kept.

Knows neither the event loop's kind nor who asks; bytes are cut at line feeds, so a chunk's size lines are skipped.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import orjson


class BadAnswer(Exception):
    """The server's answer is not what was asked for; the message is one line."""


def request_bytes(prompt: str | list[int], max_new_tokens: int) -> bytes:
    """A greedy POST /models/llama2/generate_stream as the contest's client sends it, and never ended by EOS.

    `prompt`: text, or token ids, which this server takes as they are.
    """
    parameters = {
        "max_new_tokens": max_new_tokens,
        "do_sample": "False",
        "return_full_text": "True",
        "ignore_eos": "True",
    }
    body = orjson.dumps({"inputs": prompt, "parameters": parameters})
    head = "POST /models/llama2/generate_stream HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return f"{head}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


class JudgeStream(asyncio.Protocol):
    """One connection: sends a request when connected, resolves `done` when the server closes.

    With `leave_after` the client closes its end after so many lines, as one that loses interest does.
    """

    def __init__(self, request: bytes, max_new_tokens: int, leave_after: int = 0) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.num_lines = 0  # JSON lines: one per token, and the last one
        self.status = 0
        self.first_ns = 0  # time.monotonic_ns() of the first and the last token's line
        self.last_ns = 0
        self._request = request
        self._asked = max_new_tokens
        self._leave_after = leave_after
        self._rest = b""
        self._last: dict[str, Any] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the request."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Parse what is whole."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if not self.status and lines:
            self.status = int(lines[0].split()[1])
        for line in lines:
            if line.startswith(b"{"):
                self._last = orjson.loads(line)
                self.num_lines += 1
        if self.num_lines:
            self.last_ns = time.monotonic_ns()
            self.first_ns = self.first_ns or self.last_ns
            if self._leave_after and self.num_lines >= self._leave_after:
                self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The answer has ended."""
        if not self.done.done():
            self.done.set_result(None)

    def token_ids(self) -> list[int]:
        """The answer. Raises BadAnswer unless every token came in a line of its own and the last line says the same."""
        if self.status != 200 or self._last.get("event") != "message":
            raise BadAnswer(f"status {self.status}, last line {orjson.dumps(self._last).decode()[:200]}")
        said = self._last["data"][0].get("generated_tokens")  # only the last line says it
        if not said == self.num_lines - 1 == self._asked:
            raise BadAnswer(f"{self._asked} tokens asked for, {self.num_lines - 1} lines came, {said} in the last line")
        return [token["id"] for token in self._last["data"][0]["tokens"]]
