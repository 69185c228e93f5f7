"""The event-stream examples of the WHATWG HTML standard (section 9.2), and what breaks naive decoders."""

import pytest

from harness.load.sse import Event, SseDecoder


def decode(stream: bytes) -> list[Event]:
    return SseDecoder().feed(stream)


def test_standard_example_multiline_data() -> None:
    assert decode(b"data: YHOO\ndata: +2\ndata: 10\n\n") == [Event("YHOO\n+2\n10")]


def test_standard_example_comment_and_ids() -> None:
    stream = b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n"
    # The third block is never dispatched: no blank line ends it.
    assert decode(stream) == [Event("first event", id="1"), Event("second event", id="")]


def test_standard_example_empty_data() -> None:
    # A data line without content is content: the empty string. The last block is never dispatched.
    assert decode(b"data\n\ndata\ndata\n\ndata:") == [Event(""), Event("\n")]


def test_standard_example_optional_space() -> None:
    assert decode(b"data:test\n\ndata: test\n\n") == [Event("test"), Event("test")]


def test_event_name_and_retry() -> None:
    assert decode(b"event: add\ndata: 73857293\nretry: 1500\n\nretry: soon\ndata: x\n\n") == [
        Event("73857293", event="add", retry_ms=1500),
        Event("x"),
    ]


def test_event_without_data_is_dropped_and_its_name_forgotten() -> None:
    assert decode(b"event: ping\n\ndata: x\n\n") == [Event("x")]


def test_byte_order_mark_only_at_the_beginning() -> None:
    assert decode(b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\ndata: c\n\n") == [Event("a"), Event("c")]


def test_line_separators_inside_data_are_data() -> None:
    text = "a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg"
    assert decode(f"data: {text}\n\n".encode()) == [Event(text)]


STREAM = 'id: 7\r\ndata: über\r\rdata: a\ndata: b\n\n: c\r\n\r\nevent: x\rdata: {"k": "\u2028"}\r\n\r\n'.encode()


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
def test_any_cut_gives_the_same_events(cut: int) -> None:
    decoder = SseDecoder()
    expected = [Event("über", id="7"), Event("a\nb", id="7"), Event('{"k": "\u2028"}', event="x", id="7")]
    assert decoder.feed(STREAM[:cut]) + decoder.feed(STREAM[cut:]) == expected
    one_by_one = SseDecoder()
    assert [event for byte in STREAM for event in one_by_one.feed(bytes([byte]))] == expected
