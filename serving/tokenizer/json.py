"""tokenizer.json files (byte-level BPE, or BPE with byte fallback) through the `tokenizers` package."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as LibraryTokenizer

from serving.tokenizer.chat import ChatTemplate
from serving.tokenizer.detokenizer import ByteDetokenizer, PieceDetokenizer, SpaceRule
from serving.tokenizer.tokenizer import Detokenizer, TokenizerError, decode_all

_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")


class JsonTokenizer:
    """Encodes with the package; decodes by tables made from the file's decoder, token by token.

    Special tokens written in a text are recognised, in plain prompts too, as the package does.
    One deliberate difference: where byte-fallback tokens form no valid UTF-8, the package turns the whole run of byte
    tokens into U+FFFD, which no stream could know in time; here only the bytes that belong to no character become one.
    """

    def __init__(
        self,
        path: Path,
        chat_template: ChatTemplate | None,
        *,
        bos_id: int | None,
        eos_ids: tuple[int, ...],
        pad_id: int | None,
        adds_bos: bool | None,
    ) -> None:
        """`adds_bos` None: as the file's post-processor does. Raises TokenizerError for an unusable file."""
        try:
            library: Any = LibraryTokenizer.from_file(str(path))
        except Exception as error:  # the package raises bare Exception for everything
            raise TokenizerError(f"{path}: not a tokenizer.json: {str(error).splitlines()[0]}") from error
        library.no_truncation()
        library.no_padding()
        self._library = library
        added: dict[int, Any] = library.get_added_tokens_decoder()
        vocabulary: dict[str, int] = library.get_vocab(with_added_tokens=True)
        self.vocab_size = max(vocabulary.values()) + 1
        self.bos_id, self.eos_ids, self.pad_id = bos_id, eos_ids, pad_id
        self.chat_template = chat_template
        if adds_bos is None:
            adds_bos = library.encode("a").ids[:1] == [bos_id] != library.encode("a", add_special_tokens=False).ids[:1]
        self.adds_bos = adds_bos and bos_id is not None
        self._special = frozenset(i for i, token in added.items() if token.special)
        tokens: list[str | None] = [None] * self.vocab_size
        for token, token_id in vocabulary.items():
            if token_id not in self._special:
                tokens[token_id] = token
        self._byte_table: list[bytes] | None = None
        self._piece_table: list[str | bytes | None] = []
        self._rule = SpaceRule(strip_first=False)
        self._read_decoder(path, tokens)

    def _read_decoder(self, path: Path, tokens: Sequence[str | None]) -> None:
        decoder = json.loads(path.read_text(encoding="utf-8")).get("decoder") or {}
        steps: list[dict[str, Any]] = decoder["decoders"] if decoder.get("type") == "Sequence" else [decoder]
        kinds = [step.get("type") for step in steps]
        if kinds == ["ByteLevel"]:
            self._byte_table = [b"" if token is None else _byte_level(token) for token in tokens]
            return
        if kinds[:3] != ["Replace", "ByteFallback", "Fuse"] or kinds[3:] not in ([], ["Strip"]):
            raise TokenizerError(f"{path}: decoder {' + '.join(map(str, kinds))} is not one of ByteLevel, "
                                 "Replace + ByteFallback + Fuse (+ Strip)")  # fmt: skip
        space = steps[0]["pattern"].get("String")
        if space is None or steps[0]["content"] != " ":
            raise TokenizerError(f"{path}: the Replace decoder must turn one string into a space")
        if kinds[3:] and (steps[3]["content"], steps[3]["start"], steps[3]["stop"]) != (" ", 1, 0):
            raise TokenizerError(f"{path}: the Strip decoder must drop one leading space")
        self._piece_table = [None if token is None else _piece(token, space) for token in tokens]
        self._rule = SpaceRule(strip_first=bool(kinds[3:]), strip_bytes=True)

    def encode(self, text: str, add_bos: bool) -> list[int]:
        ids: list[int] = self._library.encode(text, add_special_tokens=False).ids
        return [self.bos_id, *ids] if add_bos and self.bos_id is not None else ids

    def encode_chat(self, text: str) -> list[int]:
        return self.encode(text, add_bos=False)

    def decode(self, token_ids: Iterable[int]) -> str:
        return decode_all(self.detokenizer(continues=False), token_ids)

    def special(self, token_id: int) -> bool:
        return token_id in self._special

    def token_bytes(self, token_id: int) -> bytes:
        if token_id >= self.vocab_size:
            return b""
        if token_id in self._special:
            return str(self._library.id_to_token(token_id)).encode()
        table = self._piece_table if self._byte_table is None else self._byte_table
        entry = table[token_id]
        return entry if isinstance(entry, bytes) else (entry or "").encode()

    def detokenizer(self, continues: bool) -> Detokenizer:
        if self._byte_table is not None:
            return ByteDetokenizer(self._byte_table)
        return PieceDetokenizer(self._piece_table, self._rule, continues)


def _piece(token: str, space: str) -> str | bytes:
    byte = _BYTE_TOKEN.fullmatch(token)
    return bytes([int(byte[1], 16)]) if byte else token.replace(space, " ")


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's letters for bytes: printable Latin-1 stands for itself, the other 68 are letters from U+0100 on."""
    itself = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in itself]
    return {chr(byte): byte for byte in itself} | {chr(256 + i): byte for i, byte in enumerate(others)}


_ALPHABET = _byte_alphabet()


def _byte_level(token: str) -> bytes:
    """A token's bytes; one that is not written in the byte alphabet (an added token with a space) is plain text."""
    if all(letter in _ALPHABET for letter in token):
        return bytes(_ALPHABET[letter] for letter in token)
    return token.encode()
