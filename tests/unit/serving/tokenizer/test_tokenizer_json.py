"""tokenizer.json: our table-driven decoding against the package's, for both families of decoders, trained here."""

from pathlib import Path

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from serving.tokenizer.json import JsonTokenizer
from serving.tokenizer.tokenizer import TokenizerError

TEXT = ["A plumb line shows what is upright.", "Grüße aus Köln: naïve café, 12 €.", "line\n\n  line  line"] * 3
SPECIAL = ["<|end|>", "<|im_start|>"]


def byte_level() -> tokenizers.Tokenizer:
    library = tokenizers.Tokenizer(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    library.train_from_iterator(
        TEXT,
        trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, special_tokens=SPECIAL, show_progress=False),
    )
    library.add_tokens(["<tool call é>"])
    return library


def byte_fallback(strip: bool = True) -> tokenizers.Tokenizer:
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2} | {f"<0x{byte:02X}>": 3 + byte for byte in range(256)}
    for token in ["▁", "l", "i", "n", "e", "li", "ne", "line", "▁line", "▁▁"]:
        vocabulary[token] = len(vocabulary)
    merges = [("l", "i"), ("n", "e"), ("li", "ne"), ("▁", "line"), ("▁", "▁")]
    library = tokenizers.Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    library.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    library.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)] if strip else steps)
    library.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    library.add_special_tokens(["<unk>", "<s>", "</s>"])
    return library


def opened(library: tokenizers.Tokenizer, folder: Path, bos_id: int | None = None) -> JsonTokenizer:
    path = folder / "tokenizer.json"
    library.save(str(path))
    return JsonTokenizer(path, None, bos_id=bos_id, eos_ids=(2,), pad_id=None, adds_bos=None)


@pytest.fixture(scope="module")
def level(tmp_path_factory: pytest.TempPathFactory) -> JsonTokenizer:
    return opened(byte_level(), tmp_path_factory.mktemp("level"))


@pytest.fixture(scope="module")
def fallback(tmp_path_factory: pytest.TempPathFactory) -> JsonTokenizer:
    return opened(byte_fallback(), tmp_path_factory.mktemp("fallback"), bos_id=1)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_byte_level_deltas_concatenate_to_the_package_s_text(level: JsonTokenizer, data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(0, level.vocab_size - 1), max_size=30))
    stream = level.detokenizer(continues=False)
    assert "".join(map(stream.push, ids)) + stream.flush() == level._library.decode(ids)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_byte_fallback_deltas_concatenate_to_the_package_s_text(fallback: JsonTokenizer, data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(0, fallback.vocab_size - 1), max_size=30))
    expected = fallback._library.decode(ids)
    ours = fallback.decode(ids)
    if "\ufffd" in ours:  # the package gives up the whole run of bytes, see the class's docstring
        assert len(ours) <= len(expected)
    else:
        assert ours == expected


@pytest.mark.parametrize("strip", [True, False])
def test_the_space_in_front_of_the_first_word(tmp_path: Path, strip: bool) -> None:
    tokenizer = opened(byte_fallback(strip), tmp_path, bos_id=1)
    ids = tokenizer.encode("line line", add_bos=False)
    assert tokenizer.decode(ids) == ("line line" if strip else " line line")
    stream = tokenizer.detokenizer(continues=True)
    assert "".join(map(stream.push, ids)) == " line line"


def test_bos_is_added_where_the_file_would_add_it(level: JsonTokenizer, fallback: JsonTokenizer) -> None:
    assert not level.adds_bos
    assert fallback.adds_bos
    assert fallback.encode("line", add_bos=True) == [1, *fallback.encode("line", add_bos=False)]


def test_special_tokens_in_a_text_are_recognised_and_give_no_text(level: JsonTokenizer) -> None:
    ids = level.encode_chat("<|im_start|>line<|end|>")
    assert (ids[0], ids[-1]) == (1, 0)
    assert level.special(0)
    assert level.decode(ids) == "line"


@settings(max_examples=50, deadline=None)
@given(text=st.text(max_size=80))
def test_text_survives_the_round_trip(level: JsonTokenizer, text: str) -> None:
    encodable = text.encode("utf-8", "ignore").decode()
    assert level.decode(level.encode(encodable, add_bos=False)) == encodable


def test_decoders_that_cannot_be_streamed_exactly_are_refused(tmp_path: Path) -> None:
    library = byte_level()
    library.decoder = decoders.WordPiece()
    with pytest.raises(TokenizerError, match=r"tokenizer\.json: decoder WordPiece is not one of"):
        opened(library, tmp_path)


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text("{")
    with pytest.raises(TokenizerError, match=r"tokenizer\.json: not a tokenizer\.json"):
        JsonTokenizer(path, None, bos_id=None, eos_ids=(), pad_id=None, adds_bos=None)
