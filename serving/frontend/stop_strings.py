"""Finds stop strings in text that arrives in pieces, and holds back what may become one. Knows no tokens."""

from __future__ import annotations

from collections.abc import Sequence


class StopStrings:
    """Cuts a text before the stop string that is complete first (of those, the one that begins first).

    Of the text so far only the longest tail that begins some stop string is held back, so a push costs
    O(len(piece) + longest stop string) and nothing of a stop string is ever let through.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        """`stops`: non-empty strings, at least one."""
        self._stops = tuple(stops)
        self._held = ""
        self.found = False

    def push(self, piece: str) -> str:
        """Text that may be shown now. After a stop string is `found`, nothing more is."""
        if self.found or not piece:
            return ""
        text = self._held + piece
        ends = [(start + len(stop), start) for stop in self._stops if (start := text.find(stop)) >= 0]
        if ends:
            self.found = True
            self._held = ""
            return text[: min(ends)[1]]
        keep = self._tail(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """Text still held when the stream ends: it became no stop string."""
        held, self._held = self._held, ""
        return held

    def _tail(self, text: str) -> int:
        """Length of the longest end of `text` with which a stop string begins."""
        longest = 0
        for stop in self._stops:
            start = text.find(stop[0], max(0, len(text) - len(stop) + 1))
            while start >= 0 and not stop.startswith(text[start:]):
                start = text.find(stop[0], start + 1)
            if start >= 0:
                longest = max(longest, len(text) - start)
        return longest
