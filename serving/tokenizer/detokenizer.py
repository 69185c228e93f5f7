"""Incremental detokenisers: state machines over per-token tables. They know no tokenizer library.

Why not `tokenizers.DecodeStream` (0.22.2; on 2026-11-25, 500 lists of up to 39 random ids per vocabulary): it cannot be
flushed, so an unfinished character at the end is lost (3 lists of SmolLM2's vocabulary, over 200 of small ones); with
byte fallback it raised "Invalid prefix" on 147 lists; and a token took it 1.8 to 4.0 µs, ours 0.8 to 1.0 µs.
SentencePiece files it cannot read at all.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass


def _replace_each_byte(error: UnicodeError) -> tuple[str, int]:
    """SentencePiece's rule: U+FFFD for every byte that belongs to no character (Python's "replace" merges some)."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\ufffd" * (error.end - error.start), error.end


codecs.register_error("plumbline_replace_each_byte", _replace_each_byte)
_new_lossy_decoder = codecs.getincrementaldecoder("utf-8")


class ByteDetokenizer:
    """For vocabularies whose every token is a run of bytes: byte-level BPE and plain bytes.

    `table[id]` is the token's bytes, empty for special tokens. Malformed UTF-8 becomes U+FFFD per maximal subpart
    (Unicode 15, section 3.9, "best practice"), as in `bytes.decode(errors="replace")` and Rust's from_utf8_lossy.
    """

    __slots__ = ("_decode", "_size", "_table")

    def __init__(self, table: Sequence[bytes]) -> None:
        self._table = table
        self._size = len(table)
        self._decode = _new_lossy_decoder("replace").decode

    def push(self, token_id: int) -> str:
        return self._decode(self._table[token_id]) if token_id < self._size else ""

    def flush(self) -> str:
        return self._decode(b"", True)


@dataclass(frozen=True, slots=True)
class SpaceRule:
    """What happens to a space in front of the whole text."""

    strip_first: bool  # drop one leading space
    strip_each_piece: bool = False  # go on dropping one from each piece until text has appeared
    strip_bytes: bool = False  # a space that comes as a byte token counts too
    exempt: str = ""  # the piece that keeps its space: how SentencePiece writes an unknown token


class PieceDetokenizer:
    """For vocabularies of text pieces with byte fallback: SentencePiece and its tokenizer.json conversions.

    `table[id]` is a piece's text (spaces already spaces), or one byte for a byte token, or None for a token that is
    as if it were not there. A run of byte tokens is decoded as UTF-8 by itself; any piece, also an empty one, ends it.
    """

    __slots__ = ("_at_start", "_decode", "_in_bytes", "_rule", "_size", "_table")

    def __init__(self, table: Sequence[str | bytes | None], rule: SpaceRule, continues: bool) -> None:
        self._table = table
        self._size = len(table)
        self._rule = rule
        self._at_start = not continues
        self._in_bytes = False
        self._decode = _new_lossy_decoder("plumbline_replace_each_byte").decode

    def push(self, token_id: int) -> str:
        entry = self._table[token_id] if token_id < self._size else None
        if entry is None:
            return ""
        if isinstance(entry, bytes):
            self._in_bytes = True
            text = self._decode(entry)
            return self._begin(text, self._rule.strip_bytes) if self._at_start else text
        waiting = self.flush() if self._in_bytes else ""
        if self._at_start:
            return waiting + self._begin(entry, entry != self._rule.exempt)
        return waiting + entry

    def flush(self) -> str:
        self._in_bytes = False
        text = self._decode(b"", True)
        return self._begin(text, False) if self._at_start else text

    def _begin(self, text: str, may_strip: bool) -> str:
        """Apply the space rule; the start is over once text has appeared or its one space has gone."""
        if may_strip and self._rule.strip_first and text.startswith(" "):
            text = text[1:]
            self._at_start = not text and self._rule.strip_each_piece
        elif text:
            self._at_start = False
        return text
