"""Tokens to pieces of text: ends, cuts, counts."""

from serving.engine.request import GenerationRequest, SamplingParams, Token
from serving.frontend.output_text import OutputText
from serving.tokenizer.bytes import EOS_ID, ByteTokenizer

TOKENIZER = ByteTokenizer()


def output(max_new_tokens: int, stop: tuple[str, ...] = (), **sampling: object) -> OutputText:
    params = SamplingParams(max_new_tokens, **sampling)  # type: ignore[arg-type]
    request = GenerationRequest("r", [65], params, eos_token_ids=(EOS_ID,), stop_token_ids=(ord("!"),))
    return OutputText(request, TOKENIZER.detokenizer(continues=True), stop)


def pieces(text: OutputText, ids: list[int]) -> list[str]:
    return [text.push(Token(token_id, 0.0, index, 0)) for index, token_id in enumerate(ids)]


def test_a_character_comes_with_the_token_that_completes_it() -> None:
    assert pieces(output(9), list("aé".encode())) == ["a", "", "é"]


def test_the_last_token_brings_what_was_waiting() -> None:
    assert pieces(output(2), [ord("a"), 0xC3]) == ["a", "\ufffd"]
    assert pieces(output(9), [0xC3, EOS_ID]) == ["", "\ufffd"]
    assert pieces(output(2, stop=("END",)), list(b"aE")) == ["a", "E"]


def test_ending_tokens_have_no_text_unless_they_are_ignored() -> None:
    assert pieces(output(9), list(b"a!")) == ["a", ""]
    ignoring = output(3, ignore_eos=True)
    assert pieces(ignoring, [ord("a"), EOS_ID, ord("b")]) == ["a", "", "b"]
    assert ignoring.num_tokens == 3


def test_text_is_cut_at_the_stop_string_and_the_token_that_completed_it_is_counted() -> None:
    text = output(9, stop=("cd",))
    assert pieces(text, list(b"abcd")) == ["a", "b", "", ""]
    assert text.stopped
    assert text.num_tokens == 4


def test_which_token_is_cut_by_length() -> None:
    text = output(2)
    assert not text.is_cut_by_length(Token(65, 0.0, 0, 0))
    assert text.is_cut_by_length(Token(65, 0.0, 1, 0))
    assert not text.is_cut_by_length(Token(EOS_ID, 0.0, 1, 0))
