"""Frames survive any chunking; anything else is a named error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.link import errors
from serving.link.frame import HEADER, MAX_PAYLOAD_BYTES, Decoder, Encoder, FrameType


def test_chunks_of_every_size_give_the_same_frames():
    encoder = Encoder()
    sent = [(FrameType.step, b"abc"), (FrameType.bye, b""), (FrameType.reply, bytes(range(200)))]
    data = b"".join(encoder.encode(kind, payload) for kind, payload in sent)
    for size in range(1, len(data) + 1):
        decoder = Decoder()
        frames = [frame for at in range(0, len(data), size) for frame in decoder.feed(data[at : at + size])]
        assert [(frame.type, frame.payload) for frame in frames] == sent


def header(magic=b"PLMB", version=1, kind=5, length=0, sequence=0) -> bytes:
    return HEADER.pack(magic, version, kind, length, sequence)


@pytest.mark.parametrize(
    ("data", "error", "text"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", errors.WrongMagic, "GET "),
        (header(version=2), errors.WrongVersion, "this side speaks version 1, the peer 2"),
        (header(kind=99), errors.WrongType, "unknown frame type 99"),
        (header(length=MAX_PAYLOAD_BYTES + 1), errors.WrongSize, "65537 bytes announced"),
        (header(sequence=1), errors.WrongSequence, "expected frame 0, got 1"),
        (header() + header(), errors.WrongSequence, "expected frame 1, got 0"),
    ],
)
def test_bad_headers_are_named(data, error, text):
    with pytest.raises(error, match=text):
        Decoder().feed(data)


def test_seven_bytes_where_six_were_meant_are_an_error_not_a_shift():
    """The original stack lost step for ever after such a reply."""
    encoder = Encoder()
    data = encoder.encode(FrameType.reply, b"sixsix") + b"!" + encoder.encode(FrameType.reply, b"sixsix")
    decoder = Decoder()
    with pytest.raises(errors.WrongMagic):
        decoder.feed(data)


def test_a_payload_over_the_limit_is_refused_by_the_sender():
    with pytest.raises(errors.WrongSize):
        Encoder().encode(FrameType.step, bytes(MAX_PAYLOAD_BYTES + 1))


@given(st.binary(max_size=100))
def test_any_bytes_give_frames_or_a_link_error(data):
    try:
        assert Decoder().feed(data) == []
    except errors.LinkError:
        assert len(data) >= HEADER.size
