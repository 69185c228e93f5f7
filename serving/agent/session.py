"""The agent's end of the link: hand-shake, then steps in and replies out, blocking, no polling. Knows no model."""

from __future__ import annotations

import socket
import time
from collections import deque

from serving.agent.runner import Runner
from serving.link import errors
from serving.link.frame import Decoder, Encoder, Frame, FrameType
from serving.link.layout import Area, areas
from serving.link.message import ErrorReport, Hello, Reply, Step, Welcome, from_json, to_json
from serving.link.segment import Segment

_READ_BYTES = 65_536


class Session:
    """One connection to the engine. Every method raises LinkError when the link is of no more use."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection = connection
        self._encoder = Encoder()
        self._decoder = Decoder()
        self._frames: deque[Frame] = deque()
        self._areas: list[Area] = []

    @classmethod
    def dial(cls, host: str, port: int) -> Session:
        """Connect to the engine."""
        try:
            return cls(socket.create_connection((host, port)))
        except OSError as error:
            raise errors.LinkClosed(f"cannot connect to the front end at {host}:{port}: {error.strerror}") from error

    def shake_hands(self, hello: Hello) -> None:
        """Introduce this agent and open the engine's segment; returns once steps may come."""
        self._send(FrameType.hello, to_json(hello))
        welcome = from_json(Welcome, self._receive(FrameType.welcome).payload)
        segment = Segment.open(welcome.segment, welcome.num_bytes)
        self._areas = areas(segment.memory, hello.shapes, hello.vocab_size)
        self._send(FrameType.attached, b"")
        self._receive(FrameType.started)

    def serve(self, runner: Runner) -> None:
        """Answer steps until the engine says bye. What the runner raises is told to the engine and raised on."""
        while True:
            frame = self._receive(FrameType.step, FrameType.bye)
            received_ns = time.monotonic_ns()
            if frame.type is FrameType.bye:
                return
            step = Step.unpack(frame.payload)
            try:
                if step.area >= len(self._areas):
                    raise errors.WrongSize(f"step area {step.area}, there are {len(self._areas)}")
                pre_ns, forward_ns, sample_ns = runner.run(step, self._areas[step.area])
            except errors.LinkError as error:
                self.refuse(error)
                raise
            except Exception as error:
                failure = errors.AgentFailed(f"step {step.number}: {one_line(error)}")
                self.refuse(failure)
                raise failure from error
            sent_ns = time.monotonic_ns()
            reply = Reply(
                step.number, step.num_seqs, step.num_logits_rows, received_ns, pre_ns, forward_ns, sample_ns, sent_ns
            )
            self._send(FrameType.reply, reply.pack())

    def refuse(self, error: errors.LinkError) -> None:
        """Tell the engine why this agent leaves."""
        self._send(FrameType.error, to_json(ErrorReport(type(error).__name__, str(error))))

    def _send(self, kind: FrameType, payload: bytes) -> None:
        try:
            self._connection.sendall(self._encoder.encode(kind, payload))
        except OSError as error:
            raise errors.LinkClosed(f"the front end closed the link: {error.strerror}") from error

    def _receive(self, *allowed: FrameType) -> Frame:
        while not self._frames:
            try:
                data = self._connection.recv(_READ_BYTES)
            except OSError as error:
                raise errors.LinkClosed(f"the front end closed the link: {error.strerror}") from error
            if not data:
                raise errors.LinkClosed("the front end closed the link")
            self._frames.extend(self._decoder.feed(data))
        frame = self._frames.popleft()
        if frame.type is FrameType.error:
            report = from_json(ErrorReport, frame.payload)
            raise errors.from_name(report.name, report.message)
        if frame.type not in allowed:
            raise errors.WrongType(f"expected {' or '.join(kind.name for kind in allowed)}, got {frame.type.name}")
        return frame


def one_line(error: BaseException) -> str:
    """An exception as one line: its type and the first line of its text that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" -\t")]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
