"""What the front end needs of any tokenizer. Knows no file format and no model."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from serving.tokenizer.chat import ChatTemplate


class TokenizerError(ValueError):
    """A tokenizer file that is missing, unreadable or of a kind we do not serve; the message is one line."""


def tokenizer_file(path: Path) -> Path | None:
    """The one that is loaded from a folder, or the file itself; None if there is none."""
    candidates = (path, path / "tokenizer.json", path / "tokenizer.model")
    return next((candidate for candidate in candidates if candidate.is_file()), None)


class Detokenizer(Protocol):
    """Turns one stream of token ids into text, token by token, in O(1) amortised time and memory.

    The deltas of all `push` calls and the final `flush`, concatenated, are exactly `Tokenizer.decode` of the ids.
    A delta never ends inside a UTF-8 character: bytes of an unfinished character wait for the next token.
    """

    def push(self, token_id: int) -> str:
        """Text that became certain with this token; may be empty."""
        ...

    def flush(self) -> str:
        """Text still waiting when the stream ends: U+FFFD for the bytes of an unfinished character, or nothing."""
        ...


class Tokenizer(Protocol):
    """A vocabulary: ids are 0 ≤ id < vocab_size."""

    vocab_size: int
    bos_id: int | None
    eos_ids: tuple[int, ...]  # any of these ends a sequence
    pad_id: int | None
    adds_bos: bool  # whether the model expects BOS before a plain prompt
    chat_template: ChatTemplate | None

    def encode(self, text: str, add_bos: bool) -> list[int]:
        """Token ids of a plain prompt, with BOS in front if asked and if there is one."""
        ...

    def encode_chat(self, text: str) -> list[int]:
        """Token ids of a rendered chat, whose special tokens (BOS, turn markers) are written out in the text."""
        ...

    def decode(self, token_ids: Iterable[int]) -> str:
        """Text of ids as a whole; special tokens and ids beyond the vocabulary give no text."""
        ...

    def special(self, token_id: int) -> bool:
        """True for control tokens (BOS, EOS, turn markers), which give no text."""
        ...

    def token_bytes(self, token_id: int) -> bytes:
        """A token by itself, for showing it: its bytes, or the name of a special token; b"" beyond the vocabulary."""
        ...

    def detokenizer(self, continues: bool) -> Detokenizer:
        """A detokeniser for one stream. If it `continues` a prompt, the space in front of its first word is kept:
        decode(prompt + ids) == decode(prompt) + deltas, where the prompt ends with a whole character."""
        ...


def decode_all(detokenizer: Detokenizer, token_ids: Iterable[int]) -> str:
    """The one definition of decoding: a stream's deltas, concatenated."""
    return "".join([*map(detokenizer.push, token_ids), detokenizer.flush()])
