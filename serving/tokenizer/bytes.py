"""A tokenizer computed by hand: every byte of the text is a token. For the arithmetic model and for tests."""

from __future__ import annotations

from collections.abc import Iterable

from serving.tokenizer.chat import ChatTemplate
from serving.tokenizer.detokenizer import ByteDetokenizer
from serving.tokenizer.tokenizer import Detokenizer, decode_all

BOS_ID = 256
EOS_ID = 257
PAD_ID = 258
_TABLE = [bytes([byte]) for byte in range(256)] + [b"", b"", b""]
_NAMES = [b"<bos>", b"<eos>", b"<pad>"]
_TEMPLATE = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}assistant: "


class ByteTokenizer:
    """Ids 0..255 are bytes; 256 BOS, 257 EOS, 258 PAD give no text. Plain prompts get no BOS, so "A" is [65]."""

    vocab_size = len(_TABLE)
    bos_id: int | None = BOS_ID
    eos_ids: tuple[int, ...] = (EOS_ID,)
    pad_id: int | None = PAD_ID
    adds_bos = False

    def __init__(self) -> None:
        self.chat_template: ChatTemplate | None = ChatTemplate(_TEMPLATE, {})

    def encode(self, text: str, add_bos: bool) -> list[int]:
        ids = list(text.encode())
        return [BOS_ID, *ids] if add_bos else ids

    def encode_chat(self, text: str) -> list[int]:
        return self.encode(text, add_bos=False)

    def decode(self, token_ids: Iterable[int]) -> str:
        return decode_all(self.detokenizer(continues=False), token_ids)

    def special(self, token_id: int) -> bool:
        return token_id in (BOS_ID, EOS_ID, PAD_ID)

    def token_bytes(self, token_id: int) -> bytes:
        return b"".join([*_TABLE[:256], *_NAMES][token_id : token_id + 1])

    def detokenizer(self, continues: bool) -> Detokenizer:
        return ByteDetokenizer(_TABLE)
