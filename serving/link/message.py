"""What the frames of the link carry: small dataclasses <-> payload bytes. Knows no sockets and no arrays.

Hand-shake: agent hello -> engine welcome -> agent attached -> engine started; then steps and replies, at most two steps
unanswered. Instants are time.monotonic_ns(), which both processes share (CLOCK_MONOTONIC of one host).
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass
from operator import attrgetter
from typing import Any, TypeVar, get_type_hints

from serving.link.errors import WrongMessage, WrongSize
from serving.link.layout import Shapes

_STEP = struct.Struct("<QBBHIIIIQ")
_REPLY = struct.Struct("<QIIQQQQQ")

SAMPLING = 1  # some row is not plain greedy: the sampling arrays are filled
SOURCES = 2  # some row takes its input from the step before: token_source is filled
LOGPROBS = 4  # some row wants log-probabilities


@dataclass
class Hello:
    """Agent -> engine, first frame."""

    token: str
    device_index: int
    pid: int
    vocab_size: int
    supports_cached_prefill: bool
    shapes: Shapes


@dataclass
class Welcome:
    """Engine -> agent: the segment to open."""

    segment: str
    num_bytes: int


@dataclass
class ErrorReport:
    """Either side, last frame: `name` is a class of errors.py."""

    name: str
    message: str


@dataclass(slots=True)
class Step:
    """Engine -> agent: run what lies in step area `area`."""

    number: int
    area: int
    kind: int  # StepKind
    flags: int
    num_seqs: int
    num_tokens: int
    num_blocks: int  # columns of the block tables
    num_logits_rows: int
    sent_ns: int

    def pack(self) -> bytes:
        """Payload bytes."""
        return _STEP.pack(*_STEP_FIELDS(self))

    @classmethod
    def unpack(cls, payload: bytes) -> Step:
        """From payload bytes. Raises WrongSize."""
        _check_size("step", payload, _STEP)
        return cls(*_STEP.unpack(payload))


_STEP_FIELDS = attrgetter(*Step.__slots__)


@dataclass(slots=True)
class Reply:
    """Agent -> engine: the step is done, its results lie in its area."""

    number: int
    num_seqs: int
    num_logits_rows: int
    received_ns: int
    pre_ns: int  # building the batch from the area
    forward_ns: int
    sample_ns: int
    sent_ns: int

    def pack(self) -> bytes:
        """Payload bytes."""
        return _REPLY.pack(*_REPLY_FIELDS(self))

    @classmethod
    def unpack(cls, payload: bytes) -> Reply:
        """From payload bytes. Raises WrongSize."""
        _check_size("reply", payload, _REPLY)
        return cls(*_REPLY.unpack(payload))


_REPLY_FIELDS = attrgetter(*Reply.__slots__)


def _check_size(what: str, payload: bytes, layout: struct.Struct) -> None:
    if len(payload) != layout.size:
        raise WrongSize(f"a {what} has {layout.size} bytes, got {len(payload)}")


T = TypeVar("T")


def to_json(message: Hello | Welcome | ErrorReport) -> bytes:
    """Payload bytes of a hand-shake message."""
    return json.dumps(asdict(message)).encode()


def from_json(cls: type[T], payload: bytes) -> T:
    """A hand-shake message from its payload. Raises WrongMessage unless it has exactly the fields of `cls`."""
    try:
        raw = json.loads(payload)
    except ValueError as error:
        raise WrongMessage(f"a {cls.__name__} that is not JSON: {error}") from error
    return _build(cls, raw)


def _build(cls: type[T], raw: Any) -> T:
    kinds = get_type_hints(cls)
    if not isinstance(raw, dict) or set(raw) != set(kinds):
        raise WrongMessage(f"a {cls.__name__} has the fields {sorted(kinds)}, got {raw!r}"[:400])
    values = {name: _build(kind, raw[name]) if kind is Shapes else raw[name] for name, kind in kinds.items()}
    for name, kind in kinds.items():
        if type(values[name]) is not kind:
            raise WrongMessage(f"{cls.__name__}.{name} must be {kind.__name__}, got {raw[name]!r}"[:400])
    return cls(**values)
