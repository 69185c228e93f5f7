"""JSON lines are cut at line feeds only, whatever the pieces."""

import pytest

from harness.load.json_lines import JsonLinesDecoder, JsonLinesError

STREAM = '{"a": "x\\ny"}\r\n\n{"b": "one\u2028two\u0085"}\n[1, 2]\n'.encode()
VALUES = [{"a": "x\ny"}, {"b": "one\u2028two\u0085"}, [1, 2]]


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
def test_any_cut_gives_the_same_values(cut: int) -> None:
    decoder = JsonLinesDecoder()
    assert decoder.feed(STREAM[:cut]) + decoder.feed(STREAM[cut:]) == VALUES
    assert decoder.flush() == []


def test_byte_by_byte() -> None:
    decoder = JsonLinesDecoder()
    assert [value for byte in STREAM for value in decoder.feed(bytes([byte]))] == VALUES


def test_last_line_without_line_feed_comes_with_flush() -> None:
    decoder = JsonLinesDecoder()
    assert decoder.feed(b'{"a": 1}') == []
    assert decoder.flush() == [{"a": 1}]


def test_bad_line_is_named() -> None:
    decoder = JsonLinesDecoder()
    decoder.feed(b'{"a": 1}\n')
    with pytest.raises(JsonLinesError, match=r"line 2 is no JSON.*: ping"):
        decoder.feed(b": ping\n")
