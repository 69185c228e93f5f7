"""Framing of the link: bytes <-> frames, without I/O. Knows types and sequence numbers, not what payloads mean.

A frame is a 20-byte header (magic, version, type, payload length, sequence number; little endian) and its payload.
Each direction numbers its frames 0, 1, 2, …; a gap or a repeat is an error, so a stream can be wrong but not shifted.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from serving.link.errors import WrongMagic, WrongSequence, WrongSize, WrongType, WrongVersion

MAGIC = b"PLMB"
VERSION = 1
HEADER = struct.Struct("<4sHHIQ")
MAX_PAYLOAD_BYTES = 65_536


class FrameType(IntEnum):
    """Who sends it is part of the protocol (see message.py)."""

    hello = 1  # agent: who I am, what I run
    welcome = 2  # engine: which segment to open
    attached = 3  # agent: I have opened it
    started = 4  # engine: its name is gone, steps may follow
    step = 5  # engine: run this
    reply = 6  # agent: done
    error = 7  # either: a named error, then close
    bye = 8  # engine: no more steps, leave


_TYPES = {int(kind): kind for kind in FrameType}


@dataclass(slots=True)
class Frame:
    """One message as it travels."""

    type: FrameType
    payload: bytes


class Encoder:
    """Numbers and packs the frames of one direction."""

    def __init__(self) -> None:
        self._sequence = 0

    def encode(self, kind: FrameType, payload: bytes) -> bytes:
        """The bytes of one frame. Raises WrongSize if the payload is over MAX_PAYLOAD_BYTES."""
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise WrongSize(f"payload of {len(payload)} bytes, at most {MAX_PAYLOAD_BYTES} are allowed")
        header = HEADER.pack(MAGIC, VERSION, kind, len(payload), self._sequence)
        self._sequence += 1
        return header + payload


class Decoder:
    """Cuts the bytes of one direction into frames, however they were chunked on the way."""

    def __init__(self) -> None:
        self._buffer = b""
        self._sequence = 0

    def feed(self, data: bytes) -> list[Frame]:
        """All frames completed by `data`.

        Raises WrongMagic, WrongVersion, WrongType, WrongSize or WrongSequence on the first bad header; the decoder is
        of no use after that.
        """
        buffer = self._buffer + data if self._buffer else data
        frames: list[Frame] = []
        start = 0
        while len(buffer) - start >= HEADER.size:
            magic, version, kind, length, sequence = HEADER.unpack_from(buffer, start)
            if magic != MAGIC:
                raise WrongMagic(f"expected {MAGIC!r}, got {magic!r}")
            if version != VERSION:
                raise WrongVersion(f"this side speaks version {VERSION}, the peer {version}")
            if kind not in _TYPES:
                raise WrongType(f"unknown frame type {kind}")
            if length > MAX_PAYLOAD_BYTES:
                raise WrongSize(f"payload of {length} bytes announced, at most {MAX_PAYLOAD_BYTES} are allowed")
            if sequence != self._sequence:
                raise WrongSequence(f"expected frame {self._sequence}, got {sequence}")
            end = start + HEADER.size + length
            if len(buffer) < end:
                break
            self._sequence += 1
            frames.append(Frame(_TYPES[kind], buffer[start + HEADER.size : end]))
            start = end
        self._buffer = buffer[start:]
        return frames
