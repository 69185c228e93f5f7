"""The engine's end of one agent's link: hand-shake, steps out, replies in. Knows no queue and no scheduler.

Every mismatch ends the link with a named error, told to the agent before the connection is closed.
"""

from __future__ import annotations

import asyncio
import hmac
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from serving.engine.plan import StepPlan
from serving.engine.step_writer import StepWriter
from serving.engine.worker import OnLost, OnResult, StepResult
from serving.link import errors
from serving.link.frame import Decoder, Encoder, Frame, FrameType
from serving.link.layout import NUM_AREAS, Shapes, areas, copy_step, segment_bytes
from serving.link.message import LOGPROBS, ErrorReport, Hello, Reply, Step, Welcome, from_json, to_json
from serving.link.segment import Segment

_HANDSHAKE_TIMEOUT_S = 10.0


@dataclass
class LinkTerms:
    """What the engine demands of an agent that dials in."""

    token: str
    shm_prefix: str
    shapes: Shapes
    vocab_size: int  # of the tokenizer; the model's may be larger
    cached_prefill: bool  # the configuration needs Model.supports_cached_prefill


class AgentLink(asyncio.Protocol):
    """One connection. `admit` checks the device index and may raise; `on_ready` is called once steps may follow."""

    def __init__(
        self,
        terms: LinkTerms,
        admit: Callable[[int], None],
        on_ready: Callable[[AgentLink], None],
        on_refused: Callable[[str], None],
    ) -> None:
        self._terms = terms
        self._admit = admit
        self._on_ready = on_ready
        self._on_refused = on_refused
        self._on_result: OnResult | None = None
        self._on_lost: OnLost | None = None
        self._encoder = Encoder()
        self._decoder = Decoder()
        self._expected = FrameType.hello
        self._unanswered: deque[Step] = deque()
        self._hello: Hello | None = None
        self._segment: Segment | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._loss: tuple[str, str] | None = None  # why the link ended: message and kind of Failed

    @property
    def device_index(self) -> int:
        """Which device the agent drives."""
        assert self._hello is not None
        return self._hello.device_index

    @property
    def pid(self) -> int:
        """The agent's process id."""
        assert self._hello is not None
        return self._hello.pid

    def attach(self, on_result: OnResult, on_lost: OnLost) -> None:
        """Say who takes the replies. Called by on_ready."""
        self._on_result = on_result
        self._on_lost = on_lost

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A peer has connected; it has a few seconds to introduce itself."""
        # uvloop's transports are asyncio's in all but class.
        self._transport = cast(asyncio.Transport, transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._deadline = asyncio.get_running_loop().call_later(
            _HANDSHAKE_TIMEOUT_S, self._fail, errors.LinkClosed(f"no {self._expected.name} in {_HANDSHAKE_TIMEOUT_S} s")
        )

    def data_received(self, data: bytes) -> None:
        """Bytes from the agent."""
        arrived_ns = time.monotonic_ns()
        try:
            for frame in self._decoder.feed(data):
                if frame.type is FrameType.error:
                    report = from_json(ErrorReport, frame.payload)
                    raise errors.from_name(report.name, report.message)
                if frame.type is not self._expected:
                    raise errors.WrongType(f"expected {self._expected.name}, got {frame.type.name}")
                if frame.type is FrameType.reply:
                    self._reply(frame.payload, arrived_ns)
                else:
                    self._handshake(frame)
        except errors.LinkError as error:
            self._fail(error)

    def _handshake(self, frame: Frame) -> None:
        if frame.type is FrameType.hello:
            hello = from_json(Hello, frame.payload)
            self._check(hello)
            self._hello = hello
            shapes = self._terms.shapes
            num_bytes = segment_bytes(shapes, hello.vocab_size)
            self._segment = Segment.create(self._terms.shm_prefix, num_bytes)
            self._areas = areas(self._segment.memory, shapes, hello.vocab_size)
            self._writer = StepWriter(shapes)
            self._expected = FrameType.attached
            self._send(FrameType.welcome, to_json(Welcome(self._segment.name, num_bytes)))
        else:
            assert self._segment is not None and self._deadline is not None
            self._segment.unlink()
            self._deadline.cancel()
            self._expected = FrameType.reply
            self._on_ready(self)  # may still refuse: another agent for this device may have been quicker
            self._send(FrameType.started, b"")

    def _check(self, hello: Hello) -> None:
        terms = self._terms
        if not hmac.compare_digest(hello.token.encode(), terms.token.encode()):
            raise errors.WrongToken("the agent does not know this run's session token")
        self._admit(hello.device_index)
        if hello.shapes != terms.shapes:
            raise errors.WrongShapes(f"the engine runs with {terms.shapes}, the agent with {hello.shapes}")
        if hello.vocab_size < terms.vocab_size:
            raise errors.WrongVocabulary(
                f"the model has {hello.vocab_size} token ids, the tokenizer {terms.vocab_size}: one belongs to another"
            )
        if terms.cached_prefill and not hello.supports_cached_prefill:
            raise errors.UnsupportedModel(
                "this model cannot prefill over cached context: set serving.cache.prefix_reuse=false and "
                "serving.prefill.chunked=false"
            )

    def send(self, plan: StepPlan, number: int) -> int:
        """Write the step into the area that the step before the previous one used, and tell the agent."""
        area = number % NUM_AREAS
        num_blocks, flags = self._writer.write(plan, self._areas[area])
        step = Step(
            number,
            area,
            plan.kind,
            flags,
            len(plan.sequences),
            len(plan.input_ids),
            num_blocks,
            len(plan.logits_rows),
            time.monotonic_ns(),
        )
        self._unanswered.append(step)
        self._send(FrameType.step, step.pack())
        return step.sent_ns

    def repeat(self, leader: AgentLink) -> None:
        """Send the step that `leader` was sent last to this agent too."""
        step = leader._unanswered[-1]
        ours, theirs = self._areas[step.area], leader._areas[step.area]
        copy_step(theirs, ours, step.num_seqs, step.num_tokens, step.num_blocks)
        self._unanswered.append(step)
        self._send(FrameType.step, step.pack())

    def _reply(self, payload: bytes, arrived_ns: int) -> None:
        reply = Reply.unpack(payload)
        if not self._unanswered:
            raise errors.WrongStep(f"a reply to step {reply.number}, but none is unanswered")
        step = self._unanswered[0]
        if reply.number != step.number:
            raise errors.WrongStep(f"expected the reply to step {step.number}, got that to step {reply.number}")
        count = step.num_seqs
        if (reply.num_seqs, reply.num_logits_rows) != (count, step.num_logits_rows):
            raise errors.WrongSize(
                f"step {step.number} had {count} sequences and {step.num_logits_rows} logits rows, "
                f"its reply {reply.num_seqs} and {reply.num_logits_rows}"
            )
        self._unanswered.popleft()
        area = self._areas[step.area]
        logprobs: list[float] | None = None
        top: list[list[tuple[int, float]]] | None = None
        if step.flags & LOGPROBS:
            logprobs = area.token_logprobs[:count].tolist()
            pairs = zip(area.top_ids[:count].tolist(), area.top_logprobs[:count].tolist(), strict=True)
            top = [list(zip(ids, values, strict=True)) for ids, values in pairs]
        assert self._on_result is not None
        self._on_result(
            StepResult(
                reply.number,
                area.token_ids[:count].tolist(),
                area.token_logits[:count].tolist(),
                logprobs,
                top,
                area.logits[: step.num_logits_rows].copy() if step.num_logits_rows else None,
                reply.received_ns,
                reply.pre_ns,
                reply.forward_ns,
                reply.sample_ns,
                reply.sent_ns,
                arrived_ns,
            )
        )

    def _send(self, kind: FrameType, payload: bytes) -> None:
        self._transport.write(self._encoder.encode(kind, payload))

    def _fail(self, error: errors.LinkError) -> None:
        """Give the link up, telling the agent why unless it told us."""
        kind = "agent_error" if isinstance(error, errors.AgentFailed) else "agent_lost"
        self._loss = (f"{type(error).__name__}: {error}", kind)
        if not self._transport.is_closing():
            if not isinstance(error, errors.AgentFailed):
                self._send(FrameType.error, to_json(ErrorReport(type(error).__name__, str(error))))
            self._transport.close()

    def give_up(self, error: errors.LinkError) -> None:
        """The engine has lost patience with this agent."""
        self._fail(error)
        self._transport.abort()

    def close(self) -> None:
        """No more steps: end the session of the agent."""
        if not self._transport.is_closing():
            self._send(FrameType.bye, b"")
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The link is gone, whoever ended it."""
        if self._deadline is not None:
            self._deadline.cancel()
        if self._segment is not None:
            self._segment.unlink()
        message, kind = self._loss or (f"the agent closed the link{f' ({exc})' if exc else ''}", "agent_lost")
        if self._on_lost is not None:
            self._on_lost(message, kind)
        else:
            self._on_refused(message)
