"""The byte tokenizer, and the streaming law on the machine it shares with byte-level BPE."""

from hypothesis import given
from hypothesis import strategies as st

from serving.tokenizer.bytes import BOS_ID, EOS_ID, ByteTokenizer

TOKENIZER = ByteTokenizer()


def test_every_byte_is_a_token() -> None:
    assert TOKENIZER.encode("Aé", add_bos=False) == [65, 0xC3, 0xA9]
    assert TOKENIZER.encode("A", add_bos=True) == [BOS_ID, 65]
    assert TOKENIZER.encode("", add_bos=False) == []


def test_special_tokens_and_ids_beyond_the_vocabulary_give_no_text() -> None:
    assert TOKENIZER.decode([BOS_ID, 65, EOS_ID, 70_000, 66]) == "AB"
    assert [i for i in range(TOKENIZER.vocab_size) if TOKENIZER.special(i)] == [256, 257, 258]


def test_a_character_appears_only_when_it_is_whole() -> None:
    stream = TOKENIZER.detokenizer(continues=True)
    assert [stream.push(byte) for byte in "é€".encode()] == ["", "é", "", "", "€"]
    assert stream.push(0xE2) == ""
    assert stream.flush() == "\ufffd"


@given(st.text())
def test_text_survives_the_round_trip(text: str) -> None:
    encodable = text.encode("utf-8", "ignore").decode()
    assert TOKENIZER.decode(TOKENIZER.encode(encodable, add_bos=True)) == encodable


@given(st.lists(st.integers(0, 258)))
def test_deltas_concatenate_to_python_s_own_lossy_decoding(ids: list[int]) -> None:
    stream = TOKENIZER.detokenizer(continues=False)
    deltas = [stream.push(token_id) for token_id in ids]
    assert "".join(deltas) + stream.flush() == bytes(i for i in ids if i < 256).decode(errors="replace")


def test_chat_is_plain_and_computable() -> None:
    assert TOKENIZER.chat_template is not None
    assert TOKENIZER.chat_template.render([{"role": "user", "content": "Hi"}]) == "user: Hi\nassistant: "
