"""HTTP/1.1 responses, cut anywhere, give the same body; anything else is an error."""

import gc

import pytest

from harness.load.http1 import HttpError, ResponseDecoder

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Request-Id: r-1\r\n"
CHUNKED = (
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;x=y\r\n \r\n00a\r\n\r\n0\r\n\r\nwor\r\n0\r\nT: 1\r\n\r\n"
)
LENGTH = b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"content-length: 11\r\n\r\nhello world"


@pytest.mark.parametrize(
    ("stream", "body"), [(CHUNKED, b"hello \r\n0\r\n\r\nwor"), (LENGTH, b"hello world")], ids=["chunked", "length"]
)
def test_any_cut_gives_the_same_body(stream: bytes, body: bytes) -> None:
    for cut in range(len(stream) + 1):
        decoder = ResponseDecoder()
        assert decoder.feed(stream[:cut]) + decoder.feed(stream[cut:]) == body
        assert decoder.complete
        assert (decoder.status, decoder.headers["x-request-id"], decoder.keep_alive) == (200, "r-1", True)
    decoder = ResponseDecoder()
    assert b"".join(decoder.feed(bytes([byte])) for byte in stream) == body
    assert decoder.complete


def test_one_read_per_chunk() -> None:
    decoder = ResponseDecoder()
    decoder.feed(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    assert [decoder.feed(read) for read in (b"2\r\nab\r\n", b"1\r\nc\r\n", b"0\r\n\r\n")] == [b"ab", b"c", b""]
    assert decoder.complete


def test_several_chunks_in_one_read() -> None:
    decoder = ResponseDecoder()
    decoder.feed(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    assert [decoder.feed(read) for read in (b"2\r\nab\r\n1\r\nc\r\n2\r\nd", b"e\r\n0\r\n\r\n")] == [b"abcd", b"e"]
    assert decoder.complete


def test_chunked_overrides_content_length_and_trailers_are_no_headers() -> None:
    decoder = ResponseDecoder()
    stream = b"Content-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Request-Id: r-2\r\n\r\n"
    assert decoder.feed(HEAD + stream) == b"a"
    assert decoder.complete and decoder.headers["x-request-id"] == "r-1"


def test_it_leaves_no_reference_cycle() -> None:
    """A worker collects none while it measures: memory would grow with every request."""
    gc.collect()
    gc.disable()
    try:
        for stream in (CHUNKED, LENGTH[:-1]):
            ResponseDecoder().feed(stream)
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_until_close() -> None:
    decoder = ResponseDecoder()
    assert decoder.feed(HEAD + b"\r\nabc") == b"abc"
    assert not decoder.complete
    decoder.eof()
    assert decoder.complete
    assert not decoder.keep_alive


@pytest.mark.parametrize(
    ("head", "keep_alive"),
    [
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
    ],
)
def test_keep_alive(head: bytes, keep_alive: bool) -> None:
    decoder = ResponseDecoder()
    decoder.feed(head)
    assert decoder.complete
    assert decoder.keep_alive is keep_alive


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", "Expected HTTP/"),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "Invalid header token"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1e3\r\n\r\n", "Invalid character in Content-Length"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "transfer-encoding 'gzip'"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", "Invalid character in chunk size"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabcd\r\n", "Expected LF after chunk data"),
        (HEAD + b"Content-Length: 2\r\n\r\nabc", "bytes after the end of the response"),
        (LENGTH + LENGTH, "bytes after the end of the response"),
        (b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\nx", "HTTP/1.1 101"),
        (b"HTTP/1.1 200 OK\r\n" + b"x" * 70_000, "exceeds"),
    ],
)
def test_malformed_is_an_error(stream: bytes, message: str) -> None:
    with pytest.raises(HttpError, match=message):
        ResponseDecoder().feed(stream)


@pytest.mark.parametrize("stream", [b"", HEAD, HEAD + b"Content-Length: 5\r\n\r\nabc", CHUNKED[:-2]])
def test_early_end_is_an_error(stream: bytes) -> None:
    decoder = ResponseDecoder()
    decoder.feed(stream)
    with pytest.raises(HttpError, match="closed before"):
        decoder.eof()
