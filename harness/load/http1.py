"""HTTP/1.1 responses, bytes in, body bytes out (RFC 9112). It knows no sockets and no clocks.

Called for every read inside the timed window, so the usual case (one read = one whole chunk) takes one short path.
"""

from __future__ import annotations

import re
from enum import Enum

_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}")
_MAX_HEAD_BYTES = 65536


class HttpError(ValueError):
    """The bytes are no HTTP/1.1 response, or it ended before its end."""


class _Body(Enum):
    head = 0  # not in the body yet
    length = 1  # Content-Length
    chunked = 2
    until_close = 3
    done = 4


class ResponseDecoder:
    """Decodes one response. `status` is 0 and `headers` empty until the head is complete; names are lower case."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.keep_alive = True
        self._body = _Body.head
        self._tail = b""  # bytes that cannot be interpreted yet
        self._left = 0  # length: bytes of the body to come; chunked: of the chunk's data to come
        self._in_chunk = False
        self._in_trailer = False

    @property
    def complete(self) -> bool:
        """Whether the response has ended."""
        return self._body is _Body.done

    def feed(self, data: bytes) -> bytes:
        """Return the body bytes in `data`. Raises HttpError for malformed bytes or bytes after the end."""
        if self._body is _Body.chunked and not self._tail and not self._in_chunk and not self._in_trailer:
            body = _whole_chunk(data)
            if body:
                return body
        if self._tail:
            data, self._tail = self._tail + data, b""
        if self._body is _Body.head:
            head, found, data = data.partition(b"\r\n\r\n")
            if not found:
                if len(head) > _MAX_HEAD_BYTES:
                    raise HttpError(f"response head exceeds {_MAX_HEAD_BYTES} bytes")
                self._tail = head
                return b""
            self._parse_head(head)
            if not self.status:  # an interim 1xx response: the real one follows
                return self.feed(data) if data else b""
        if self._body is _Body.chunked:
            return self._feed_chunked(data)
        if self._body is _Body.until_close:
            return data
        return self._feed_length(data)

    def eof(self) -> None:
        """The peer closed. Raises HttpError unless the response is complete or ends by closing."""
        self.keep_alive = False
        if self._body is _Body.until_close:
            self._body = _Body.done
        if self._body is not _Body.done:
            raise HttpError(
                "connection closed before the response ended"
                if self.status
                else "connection closed before any response"
            )

    def _parse_head(self, head: bytes) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")
        version, _, rest = first.partition(" ")
        code = rest[:3]
        if version not in ("HTTP/1.1", "HTTP/1.0") or not code.isdigit():
            raise HttpError(f"no HTTP/1.1 status line: {first[:80]!r}")
        headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon or name != name.strip():
                raise HttpError(f"malformed header line: {line[:80]!r}")
            headers[name.lower()] = value.strip()
        status = int(code)
        if 100 <= status < 200:
            return
        self.status, self.headers = status, headers
        connection = headers.get("connection", "").lower()
        self.keep_alive = "close" not in connection and (version == "HTTP/1.1" or "keep-alive" in connection)
        if status in (204, 304):
            self._body = _Body.done
        elif headers.get("transfer-encoding", "").lower() == "chunked":
            self._body = _Body.chunked
        elif "transfer-encoding" in headers:
            raise HttpError(f"transfer-encoding {headers['transfer-encoding']!r} is not understood")
        elif "content-length" in headers:
            if not headers["content-length"].isdigit():
                raise HttpError(f"content-length {headers['content-length']!r} is no number")
            self._left = int(headers["content-length"])
            self._body = _Body.length if self._left else _Body.done
        else:
            self._body = _Body.until_close
            self.keep_alive = False

    def _feed_length(self, data: bytes) -> bytes:
        body, extra = data[: self._left], data[self._left :]
        self._left -= len(body)
        if self._left == 0:
            self._body = _Body.done
        if extra:
            raise HttpError(f"{len(extra)} bytes after the end of the response: {extra[:40]!r}")
        return body

    def _feed_chunked(self, data: bytes) -> bytes:
        out: list[bytes] = []
        position = 0
        while self._body is _Body.chunked:
            if self._in_chunk:
                piece = data[position : position + self._left]
                out.append(piece)
                position += len(piece)
                self._left -= len(piece)
                if self._left or len(data) < position + 2:
                    break
                if data[position : position + 2] != b"\r\n":
                    raise HttpError(f"chunk not ended by CR LF but {data[position : position + 2]!r}")
                position += 2
                self._in_chunk = False
            end = data.find(b"\r\n", position)
            if end < 0:
                break
            line, position = data[position:end], end + 2
            if self._in_trailer:
                if not line:
                    self._body = _Body.done
                continue
            size = line.partition(b";")[0].strip()
            if not _CHUNK_SIZE.fullmatch(size):
                raise HttpError(f"no chunk size: {line[:40]!r}")
            self._left = int(size, 16)
            self._in_chunk = self._left > 0
            self._in_trailer = not self._in_chunk
        self._tail = data[position:]
        if self.complete and self._tail:
            raise HttpError(f"{len(self._tail)} bytes after the end of the response: {self._tail[:40]!r}")
        return b"".join(out)


def _whole_chunk(data: bytes) -> bytes:
    """The content of `data` if it is exactly one chunk that is not the last, else b""."""
    start = data.find(b"\r\n") + 2
    if 3 <= start <= 10 and data.endswith(b"\r\n"):
        try:
            size = int(data[: start - 2], 16)
        except ValueError:
            return b""
        if 0 < size == len(data) - start - 2:
            return data[start:-2]
    return b""
