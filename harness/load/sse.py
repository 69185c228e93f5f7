"""Server-sent events, bytes in, events out. It knows no sockets, no clocks and no JSON.

Written from the WHATWG HTML standard, section 9.2.6 "Interpreting an event stream".
"""

from __future__ import annotations

from dataclasses import dataclass

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(slots=True)
class Event:
    """One dispatched event; a block without any data line is none."""

    data: str
    event: str = "message"
    id: str = ""
    retry_ms: int | None = None


class SseDecoder:
    """Incremental decoder; lines end at CR LF, LF or CR and nowhere else (not at U+2028, as str.splitlines would)."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []  # of the line not ended yet
        self._after_cr = False  # a CR ended the last line: an LF that follows belongs to it
        self._first_line = True
        self._data: list[str] = []
        self._event = ""
        self._last_id = ""
        self._retry_ms: int | None = None

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that `data` completes. An event unfinished when the stream ends is never dispatched."""
        if self._after_cr and data:
            self._after_cr = False
            data = data.removeprefix(b"\n")
        events: list[Event] = []
        for piece in data.splitlines(keepends=True):  # of bytes: splits at \n, \r and \r\n only
            line = piece.rstrip(b"\r\n")
            if len(line) == len(piece):
                self._parts.append(piece)
                continue
            if self._parts:
                self._parts.append(line)
                line = b"".join(self._parts)
                self._parts.clear()
            event = self._line(line)
            if event is not None:
                events.append(event)
        self._after_cr = data.endswith(b"\r")
        return events

    def _line(self, line: bytes) -> Event | None:
        if self._first_line:
            self._first_line = False
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        text = value.removeprefix(b" ").decode("utf-8", "replace")
        if name == b"data":
            self._data.append(text)
        elif name == b"event":
            self._event = text
        elif name == b"id":
            if "\0" not in text:
                self._last_id = text
        elif name == b"retry" and text.isascii() and text.isdigit():
            self._retry_ms = int(text)
        return None  # a comment has an empty name; unknown names are ignored

    def _dispatch(self) -> Event | None:
        data, name, retry_ms = "\n".join(self._data), self._event, self._retry_ms
        had_data = bool(self._data)
        self._data, self._event, self._retry_ms = [], "", None
        if not had_data:
            return None
        return Event(data, name or "message", self._last_id, retry_ms)
