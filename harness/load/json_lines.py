"""Newline-terminated JSON, bytes in, values out (the contest server's streams). It knows no sockets and no clocks."""

from __future__ import annotations

from typing import Any

import orjson


class JsonLinesError(ValueError):
    """A line is no JSON; the message names its number (1-based) and shows its beginning."""


class JsonLinesDecoder:
    """Cuts a byte stream at line feeds and parses each line; only b"\\n" ends a line, so U+2028 and CR never do."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []  # of the line not ended yet; joined once, so long lines stay O(n)
        self._num_lines = 0

    def feed(self, data: bytes) -> list[Any]:
        """Return the values of all lines that `data` completes. Raises JsonLinesError."""
        *ended, rest = data.split(b"\n")
        values = []
        for line in ended:
            self._parts.append(line)
            values += self._take()
        if rest:
            self._parts.append(rest)
        return values

    def flush(self) -> list[Any]:
        """The stream is over: return the value of a last line that has no line feed, if any."""
        return self._take()

    def _take(self) -> list[Any]:
        line = b"".join(self._parts).strip()
        self._parts.clear()
        self._num_lines += 1
        if not line:
            return []
        try:
            return [orjson.loads(line)]
        except orjson.JSONDecodeError as error:
            raise JsonLinesError(f"line {self._num_lines} is no JSON ({error}): {line[:80]!r}") from None
