"""SentencePiece models (tokenizer.model) through the sentencepiece package. Decoding is by table, see detokenizer."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import sentencepiece

from serving.tokenizer.chat import ChatTemplate
from serving.tokenizer.detokenizer import PieceDetokenizer, SpaceRule
from serving.tokenizer.tokenizer import Detokenizer, TokenizerError, decode_all

_SPACE = "\u2581"  # how a piece writes a space


class SentencePieceTokenizer:
    """Encodes and decodes exactly as the package does, and decodes a stream token by token.

    The package encodes control symbols in a text as ordinary characters; a rendered chat is split at them first.
    """

    def __init__(
        self, path: Path, chat_template: ChatTemplate | None, adds_bos: bool, eos_ids: tuple[int, ...]
    ) -> None:
        """`eos_ids` empty: the model's own. Raises TokenizerError if the file is not a SentencePiece model."""
        try:
            self._processor: Any = sentencepiece.SentencePieceProcessor(model_file=str(path))
        except (OSError, RuntimeError) as error:
            raise TokenizerError(f"{path}: not a SentencePiece model: {str(error).splitlines()[0]}") from error
        processor = self._processor
        self.vocab_size: int = processor.vocab_size()
        self.bos_id = _id_or_none(processor.bos_id())
        self.pad_id = _id_or_none(processor.pad_id())
        own_eos = _id_or_none(processor.eos_id())
        self.eos_ids = eos_ids or (() if own_eos is None else (own_eos,))
        self.adds_bos = adds_bos and self.bos_id is not None
        self.chat_template = chat_template
        self._special = frozenset(i for i in range(self.vocab_size) if processor.is_control(i))
        self._table = [self._text(i) for i in range(self.vocab_size)]
        self._rule = self._find_space_rule()
        symbols = {processor.id_to_piece(i): i for i in self._special}
        self._symbols = symbols
        self._symbol_pattern = re.compile("(" + "|".join(map(re.escape, symbols)) + ")" if symbols else r"(?!)()")

    def _text(self, token_id: int) -> str | bytes:
        processor = self._processor
        if token_id in self._special:
            return ""
        piece: str = processor.id_to_piece(token_id)
        if processor.is_byte(token_id):
            return bytes([int(piece[3:5], 16)])  # "<0x0A>"
        if processor.is_unknown(token_id):
            return str(processor.decode([token_id]))  # the model's surface for unknown text
        return piece.replace(_SPACE, " ")

    def _find_space_rule(self) -> SpaceRule:
        """The normaliser's settings are not in the package's interface, so watch what decoding does to spaces."""
        starts = [
            (i, text)
            for i, text in enumerate(self._table)
            if isinstance(text, str) and text.startswith(" ") and not self._processor.is_unknown(i)
        ]
        if not starts:
            return SpaceRule(strip_first=False)
        first, text = starts[0]
        strips = self._processor.decode([first]) == text[1:]
        lone = self._processor.piece_to_id(_SPACE)
        has_lone = self._table[lone] == " "
        each = has_lone and not self._processor.decode([lone, lone])
        unknown = self._processor.unk_id()
        exempt = str(self._table[unknown]) if unknown >= 0 else ""
        return SpaceRule(strip_first=strips, strip_each_piece=strips and each, exempt=exempt)

    def encode(self, text: str, add_bos: bool) -> list[int]:
        ids: list[int] = self._processor.encode(text)
        return [self.bos_id, *ids] if add_bos and self.bos_id is not None else ids

    def encode_chat(self, text: str) -> list[int]:
        ids: list[int] = []
        for part in self._symbol_pattern.split(text):
            if part in self._symbols:
                ids.append(self._symbols[part])
            elif part:
                ids += self._processor.encode(part)
        return ids

    def decode(self, token_ids: Iterable[int]) -> str:
        return decode_all(self.detokenizer(continues=False), token_ids)

    def special(self, token_id: int) -> bool:
        return token_id in self._special

    def token_bytes(self, token_id: int) -> bytes:
        if token_id >= self.vocab_size:
            return b""
        entry = self._processor.id_to_piece(token_id) if token_id in self._special else self._table[token_id]
        return entry if isinstance(entry, bytes) else str(entry).encode()

    def detokenizer(self, continues: bool) -> Detokenizer:
        return PieceDetokenizer(self._table, self._rule, continues)


def _id_or_none(token_id: int) -> int | None:
    return token_id if token_id >= 0 else None
