"""SentencePiece: our table-driven decoding against the package's, on models trained here.

With PLUMBLINE_LLAMA2_TOKENIZER naming Llama 2's tokenizer.model (not ours to ship), on that one too.
"""

import io
import os
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.tokenizer.sentencepiece import SentencePieceTokenizer
from serving.tokenizer.tokenizer import TokenizerError

LLAMA2 = Path(os.environ.get("PLUMBLINE_LLAMA2_TOKENIZER", "tokenizer.model"))
TEXT = [
    "A plumb line shows what is upright, and a level shows what is flat.",
    "The mason  hangs the line,  waits until it is still, and then builds.",
    "Two walls that lean the same way look straight to each other.",
    "Grüße aus Köln: naïve café, 12 € und 3 £.",
    "    indented text keeps   its spaces",
]
MODELS = {
    "llama_like": {"add_dummy_prefix": True, "remove_extra_whitespaces": False, "byte_fallback": True},
    "default": {"add_dummy_prefix": True, "remove_extra_whitespaces": True, "byte_fallback": True},
    "no_prefix": {"add_dummy_prefix": False, "remove_extra_whitespaces": False, "byte_fallback": True},
    "no_bytes": {"add_dummy_prefix": True, "remove_extra_whitespaces": False, "byte_fallback": False},
}


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SentencePieceTokenizer]:
    folder = tmp_path_factory.mktemp("sentencepiece")
    found = {}
    for name, options in MODELS.items():
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(TEXT),
            model_writer=model,
            model_type="bpe",
            vocab_size=340 if options["byte_fallback"] else 90,
            character_coverage=0.98,
            pad_id=3,
            user_defined_symbols=["<turn>", "▁▁"],
            minloglevel=2,
            **options,
        )
        path = folder / f"{name}.model"
        path.write_bytes(model.getvalue())
        found[name] = SentencePieceTokenizer(path, None, adds_bos=True, eos_ids=())
    if LLAMA2.is_file():
        found["llama2"] = SentencePieceTokenizer(LLAMA2, None, adds_bos=True, eos_ids=())
    return found


def package_of(tokenizer: SentencePieceTokenizer) -> sentencepiece.SentencePieceProcessor:
    return tokenizer._processor


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_ids_decode_as_the_package_decodes_them(
    tokenizers: dict[str, SentencePieceTokenizer], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(tokenizers)))
    tokenizer = tokenizers[name]
    near_bytes = st.integers(0, min(270, tokenizer.vocab_size - 1))
    spaces = st.sampled_from([i for i in range(tokenizer.vocab_size) if tokenizer._table[i] in (" ", "  ", "")])
    ids = data.draw(st.lists(st.one_of(near_bytes, spaces, st.integers(0, tokenizer.vocab_size - 1)), max_size=30))
    stream = tokenizer.detokenizer(continues=False)
    deltas = [stream.push(token_id) for token_id in ids]
    assert "".join(deltas) + stream.flush() == package_of(tokenizer).decode(ids), name


@settings(max_examples=100, deadline=None)
@given(data=st.data(), text=st.text(max_size=60))
def test_a_continuation_keeps_the_space_that_a_whole_text_loses(
    tokenizers: dict[str, SentencePieceTokenizer], data: st.DataObject, text: str
) -> None:
    tokenizer = tokenizers[data.draw(st.sampled_from(sorted(tokenizers)))]
    prompt = tokenizer.encode("Two walls", add_bos=True)
    ids = tokenizer.encode(text.encode("utf-8", "ignore").decode(), add_bos=False)
    stream = tokenizer.detokenizer(continues=True)
    continuation = "".join(map(stream.push, ids)) + stream.flush()
    assert tokenizer.decode(prompt + ids) == tokenizer.decode(prompt) + continuation


def test_special_tokens_and_bos(tokenizers: dict[str, SentencePieceTokenizer]) -> None:
    tokenizer = tokenizers["llama_like"]
    assert (tokenizer.bos_id, tokenizer.eos_ids, tokenizer.pad_id) == (1, (2,), 3)
    assert tokenizer.encode("line", add_bos=True)[0] == 1
    assert tokenizer.encode("line", add_bos=True)[1:] == tokenizer.encode("line", add_bos=False)
    assert tokenizer.special(2)
    assert not tokenizer.special(300)


def test_a_rendered_chat_carries_its_control_symbols_as_ids(tokenizers: dict[str, SentencePieceTokenizer]) -> None:
    tokenizer = tokenizers["llama_like"]
    ids = tokenizer.encode_chat("<s>line</s><s>line")
    line = tokenizer.encode("line", add_bos=False)
    assert ids == [1, *line, 2, 1, *line]
    assert 1 not in tokenizer.encode("<s>line", add_bos=False)


def test_a_file_of_another_kind_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.model"
    path.write_text("not a model")
    with pytest.raises(TokenizerError, match=r"tokenizer\.model: not a SentencePiece model"):
        SentencePieceTokenizer(path, None, adds_bos=True, eos_ids=())


@pytest.mark.skipif(not LLAMA2.is_file(), reason="Llama 2's tokenizer is not part of this repository")
def test_llama2_s_own_ids(tokenizers: dict[str, SentencePieceTokenizer]) -> None:
    assert tokenizers["llama2"].encode("Hello world", add_bos=True) == [1, 15043, 3186]
