"""The engine as the front end sees it: admits requests, gives each to the least loaded agent, listens for agents."""

from __future__ import annotations

import asyncio
import secrets
import time
from pathlib import Path

from serving.config import Fake, StackConfig
from serving.engine.admission import check_request
from serving.engine.agent_link import AgentLink, LinkTerms
from serving.engine.captures import FOLDER, CaptureStore
from serving.engine.counters import Counters
from serving.engine.fake import FakeWorker
from serving.engine.live import LiveRequest, LiveRequests
from serving.engine.loop import EngineLoop
from serving.engine.replica import Replica
from serving.engine.request import GenerationRequest, InvalidRequest, QueueFull, Unavailable
from serving.engine.sequence import new_sequence
from serving.engine.stream import ResultStream
from serving.link.errors import WrongDevice
from serving.link.layout import Shapes

_RETRY_AFTER_S = 1


class Engine:
    """All agents of one front end. Belongs to one event loop; none of its methods may be called from another thread."""

    def __init__(self, stack: StackConfig, *, vocab_size: int, token: str, shm_prefix: str) -> None:
        """`vocab_size` is the tokenizer's: prompt ids beyond it are refused. `token` is what agents must know."""
        serving = stack.serving
        self._stack = stack
        self._vocab_size = vocab_size
        self._has_logits = serving.fake not in (Fake.worker, Fake.agent)
        self._counters = Counters()
        self._captures = CaptureStore(Path(stack.run_dir) / FOLDER)
        self._loops = [
            EngineLoop(index, serving, LiveRequests(self._captures, self._counters))
            for index in range(len(serving.agent.device_ids) // serving.agent.tensor_parallel)
        ]
        self._replicas = [self._new_replica(engine_loop) for engine_loop in self._loops]
        self._terms = LinkTerms(
            token=token,
            shm_prefix=shm_prefix,
            shapes=Shapes.from_stack(stack),
            # Behind a fake the tokenizer may be that of another model.
            vocab_size=vocab_size if serving.fake is Fake.off else 0,
            cached_prefill=serving.cache.prefix_reuse or serving.prefill.chunked,
        )
        self._server: asyncio.Server | None = None
        self._links: set[AgentLink] = set()
        self._ready = asyncio.Event()
        self._was_ready = False
        self._num_requests = 0
        self._refusal = ""  # why the last peer on the link was turned away

    async def start(self) -> None:
        """Listen for agents on a loopback port of the system's choice (with serving.fake=worker: be ready at once)."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._new_link, "127.0.0.1", 0)
        if self._stack.serving.fake is Fake.worker:
            for engine_loop in self._loops:
                engine_loop.attach(FakeWorker(engine_loop.on_result), give_up=lambda message: None)
            self._set_ready()

    async def stop(self) -> None:
        """End every request (Failed, kind "shutdown"), end the sessions of the agents, wait for captures."""
        if self._server is not None:
            self._server.close()
        for engine_loop in self._loops:
            engine_loop.stop()
        for link in list(self._links):
            link.close()
        await asyncio.to_thread(self._captures.stop)

    @property
    def link_port(self) -> int:
        """Where agents dial in."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def ready(self) -> bool:
        """At least one agent can take requests."""
        return self._ready.is_set()

    async def wait_ready(self) -> None:
        """Return once an agent can take requests."""
        await self._ready.wait()

    @property
    def state(self) -> tuple[str, str]:
        """("ready" | "starting" | "no agent", detail)."""
        missing = [loop.detail for loop in self._loops if loop.worker is None]
        detail = "; ".join(text for text in (*missing, self._refusal) if text)
        if self.ready:
            return "ready", detail
        return ("no agent" if self._was_ready else "starting"), detail

    def submit(self, request: GenerationRequest) -> ResultStream:
        """Queue a request. Raises InvalidRequest, Unavailable or QueueFull, each counted."""
        try:
            check_request(request, self._stack.model.seq_length, self._vocab_size, self._has_logits)
            self._check_names(request)
        except InvalidRequest:
            self._counters.rejected_invalid += 1
            raise
        ready = [loop for loop in self._loops if loop.worker is not None]
        if not ready:
            self._counters.rejected_unavailable += 1
            raise Unavailable(": ".join(self.state))
        limit = self._stack.serving.queue.max_requests
        if sum(len(loop.live) for loop in self._loops) >= limit:
            self._counters.rejected_queue_full += 1
            raise QueueFull(limit, _RETRY_AFTER_S)
        self._num_requests += 1
        seed = request.sampling.seed
        seed = secrets.randbits(63) if seed is None else seed % 2**64
        sequence = new_sequence(request, self._num_requests, seed)
        max_events = self._stack.serving.http.max_buffered_events
        stream = ResultStream(request.request_id, seed, max_events, self._on_overflow)
        capture = request.capture
        capture_file = self._captures.begin(capture.prompt_id, request.prompt_ids) if capture is not None else None
        min(ready, key=lambda loop: len(loop.live)).submit(LiveRequest(sequence, stream, capture_file))
        return stream

    def _check_names(self, request: GenerationRequest) -> None:
        if self._find(request.request_id) is not None:
            raise InvalidRequest("request_id", f"a request {request.request_id!r} is already running")
        if request.capture is not None and self._captures.is_open(request.capture.prompt_id):
            raise InvalidRequest("capture.prompt_id", f"{request.capture.prompt_id!r} is already being captured")

    def cancel(self, request_id: str, reason: str) -> None:
        """End a request as Cancelled(reason); nothing happens if it has already ended."""
        found = self._find(request_id)
        if found is not None:
            engine_loop, live = found
            engine_loop.drop(live)
            engine_loop.live.cancel(live, reason)

    def finish(self, request_id: str) -> None:
        """The reader has seen a stop string: end the request as Finished("stop")."""
        found = self._find(request_id)
        if found is not None:
            engine_loop, live = found
            engine_loop.drop(live)
            engine_loop.live.finish(live, "stop")

    def _find(self, request_id: str) -> tuple[EngineLoop, LiveRequest] | None:
        for engine_loop in self._loops:
            live = engine_loop.live.get(request_id)
            if live is not None:
                return engine_loop, live
        return None

    def _on_overflow(self, request_id: str, limit: int) -> None:
        self.cancel(request_id, f"the client is {limit} tokens behind (serving.http.max_buffered_events)")

    def _new_link(self) -> AgentLink:
        return AgentLink(self._terms, self._admit_device, self._on_agent_ready, self._on_refused)

    def _new_replica(self, engine_loop: EngineLoop) -> Replica:
        return Replica(self._stack.serving.agent.tensor_parallel, engine_loop.on_result)

    def _admit_device(self, index: int) -> None:
        agent = self._stack.serving.agent
        if not 0 <= index < len(agent.device_ids):
            raise WrongDevice(
                f"device index {index} is not configured: serving.agent.device_ids has {len(agent.device_ids)}"
            )
        if self._replicas[index // agent.tensor_parallel].has(index % agent.tensor_parallel):
            raise WrongDevice(f"device index {index} already has an agent")

    def _on_agent_ready(self, link: AgentLink) -> None:
        self._admit_device(link.device_index)
        number, rank = divmod(link.device_index, self._stack.serving.agent.tensor_parallel)
        engine_loop, replica = self._loops[number], self._replicas[number]

        def on_lost(message: str, kind: str) -> None:
            self._links.discard(link)
            was_running = engine_loop.worker is replica
            if was_running:
                self._replicas[number] = self._new_replica(engine_loop)
                engine_loop.lost(message, kind)
            replica.leave(rank)
            if was_running:
                replica.close()  # the other ranks' caches lack what this one's did last
            if not any(loop.worker is not None for loop in self._loops):
                self._ready.clear()

        link.attach(lambda result: replica.on_result(rank, result), on_lost)
        self._links.add(link)
        self._refusal = ""
        replica.join(rank, link)
        if replica.complete:
            engine_loop.attach(replica, give_up=replica.give_up)
            self._set_ready()

    def _on_refused(self, message: str) -> None:
        self._refusal = f"a peer on the link was refused: {message}"

    def _set_ready(self) -> None:
        self._was_ready = True
        self._ready.set()

    def steps(self) -> dict[str, object]:
        """{"now_ns", "agents": [StepRing.rows()]}: every step still kept, and the clock of their ends now."""
        return {"now_ns": time.monotonic_ns(), "agents": [loop.ring.rows() for loop in self._loops]}

    def stats(self) -> dict[str, object]:
        """State, counts since the start, and per agent its gauges and step timings; all of it JSON-able.

        {"state", "detail", "requests": Counters, "captures": {"open", "rows", "saved"}, "agents": [EngineLoop.stats()]}
        """
        state, detail = self.state
        captures = self._captures
        return {
            "state": state,
            "detail": detail,
            "requests": self._counters.as_dict(),
            "captures": {"open": captures.num_open, "rows": captures.num_rows, "saved": captures.num_saved},
            "agents": [loop.stats() for loop in self._loops],
        }
