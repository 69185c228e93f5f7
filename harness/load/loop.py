"""The timed window of one load worker: sends on schedule, times what comes back, spools every request's raw account.

One thread, one epoll, no waiting in a loop: it sleeps until the next send time, deadline or readable socket. Replies
are cut into bytes and times only; what they mean is worked out after the window (outcomes.py). It knows no
protocol above HTTP and never drops a request: one without a free connection waits, and its wait is in its latency.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from harness.load.clock import ReceiveClock, Timer
from harness.load.connection import Connection, Endpoint
from harness.load.connection_pool import WRITABLE, ConnectionPool
from harness.load.http1 import HttpError, ResponseDecoder
from harness.load.spool import Frame, SpoolWriter

_NS = 1_000_000_000
_REPORT_EVERY_NS = _NS // 4
_RETRY_IDLE_NS = _NS // 100  # a connection idle for longer may have been closed by the server just as we send
_PREPARE_NS = _NS // 10
_NEVER = 1 << 62


@dataclass
class Window:
    """What one worker sends. offsets_ns [num_requests] ascending; None = closed loop at `concurrency`."""

    endpoint: Endpoint
    indices: list[int]  # the run-wide number of each request
    requests: list[bytes]
    offsets_ns: list[int] | None
    concurrency: int
    timeout_ns: int
    ahead: int  # idle connections kept open ahead of need
    max_connections: int  # 0 = as many as needed


@dataclass(slots=True)
class _InFlight:
    frame: Frame
    request: bytes
    connection: Connection | None = None
    decoder: ResponseDecoder = field(default_factory=ResponseDecoder)
    pieces: list[bytes] = field(default_factory=list)
    was_idle_ns: int = 0


class LoadLoop:
    """Runs one window. `report` gets running counts a few times per second; `control` is a descriptor to listen to."""

    def __init__(
        self, window: Window, spool: SpoolWriter, report: Callable[[dict[str, int]], None], control: int
    ) -> None:
        self._window = window
        self._spool = spool
        self._report = report
        self._control = control
        self._clock = ReceiveClock()
        self._timer = Timer()
        self._epoll = select.epoll()
        self._epoll.register(control, select.EPOLLIN)
        self._epoll.register(self._timer.fileno(), select.EPOLLIN)
        self._pool: ConnectionPool[_InFlight] = ConnectionPool(
            window.endpoint, self._epoll, self._clock, window.ahead, window.max_connections
        )
        self._pool.callbacks = self
        self._busy: dict[int, _InFlight] = {}  # by descriptor of the connection
        self._live: dict[int, _InFlight] = {}  # sent or waiting for a connection, by index, oldest first
        self._next = 0  # position of the next request to start
        self._prepared = 0  # position of the request that connections were last opened ahead for
        self._start_ns = 0
        self._stopped = False
        self.counts = {"sent": 0, "first_token": 0, "finished": 0, "failed": 0, "chunks": 0}

    def open_connections(self, count: int) -> None:
        """Open `count` connections and wait until all are connected. Raises OSError if one cannot be."""
        for _ in range(count):
            self._pool.open()
        while self._pool.num_connecting:
            for fd, _ in self._epoll.poll():
                if fd == self._control:
                    raise ConnectionAbortedError("stopped while connecting")
                connection = self._pool.find(fd)
                if connection is not None and not connection.connected:
                    self._pool.go_on_connecting(connection, raising=True)

    def run(self, start_ns: int) -> None:
        """Send everything and wait for every end (or for a stop). Times in the frames count from `start_ns`."""
        self._start_ns = start_ns
        num_requests, next_report_ns = len(self._window.requests), start_ns
        while (self._live or self._next < num_requests) and not self._stopped:
            self._timer.set(min(self._next_due_ns(), self._prepare_ns(), self._next_deadline_ns(), next_report_ns))
            for fd, event in self._epoll.poll():
                if fd == self._timer.fileno():
                    self._timer.clear()
                elif fd == self._control:
                    self._stopped = True
                else:
                    self._on_event(fd, event)
                if self._next_due_ns() <= time.monotonic_ns():  # a burst of replies must not hold up a send
                    self._start_due()
            self._start_due()
            now_ns = time.monotonic_ns()
            while self._next_deadline_ns() <= now_ns:
                self._give_up(next(iter(self._live.values())), "timed_out", "timeout")
            if now_ns >= self._prepare_ns():
                self._prepared = self._next
                self._pool.open_ahead(num_requests - self._next)
            if now_ns >= next_report_ns:
                next_report_ns = now_ns + _REPORT_EVERY_NS
                self._clock.refresh()
                self._report(self.counts)
        self._cancel_rest()
        self._report(self.counts)

    # --- when what is due

    def _next_due_ns(self) -> int:
        if self._next >= len(self._window.requests):
            return _NEVER
        if self._window.offsets_ns is not None:
            return self._start_ns + self._window.offsets_ns[self._next]
        return self._start_ns if len(self._live) < self._window.concurrency else _NEVER

    def _prepare_ns(self) -> int:
        """When to see to open connections for the next request: the server may have closed idle ones in a long gap."""
        if self._window.offsets_ns is None or self._prepared == self._next or self._next >= len(self._window.requests):
            return _NEVER
        return self._next_due_ns() - _PREPARE_NS

    def _next_deadline_ns(self) -> int:
        for request in self._live.values():
            return request.frame.scheduled_ns + self._start_ns + self._window.timeout_ns
        return _NEVER

    # --- sending

    def _start_due(self) -> None:
        while (due_ns := self._next_due_ns()) <= (now_ns := time.monotonic_ns()):
            # In a closed loop a request is due when the one before it has left room, which is now.
            scheduled_ns = due_ns if self._window.offsets_ns is not None else now_ns
            position, self._next = self._next, self._next + 1
            frame = Frame(self._window.indices[position], "", scheduled_ns - self._start_ns, 0)
            request = _InFlight(frame, self._window.requests[position])
            self._live[frame.index] = request
            connection = self._pool.take()
            if connection is not None:
                self.granted(request, connection)
            else:
                self._pool.wait(request)
            self._pool.open_ahead(len(self._window.requests) - self._next)

    def granted(self, user: _InFlight, connection: Connection) -> None:
        """Send a request on a free connection (also called by the pool, for one that waited)."""
        now_ns = time.monotonic_ns()
        user.connection, user.was_idle_ns = connection, now_ns - connection.idle_since_ns
        user.frame.attempts += 1
        if user.frame.sent_ns is None:
            user.frame.sent_ns = now_ns - self._start_ns
            self.counts["sent"] += 1
        self._busy[connection.fd] = user
        try:
            connection.send(user.request)
        except OSError as error:
            self._broken(user, error)
            return
        if connection.wants_to_write:
            self._pool.watch(connection)

    def refused(self, user: _InFlight, error: OSError) -> None:
        """The pool could open no connection for a request that waited."""
        self._end(user, "failed", "connect", str(error))

    # --- receiving

    def _on_event(self, fd: int, event: int) -> None:
        connection = self._pool.find(fd)
        if connection is None:
            return  # closed earlier in this batch of events
        if not connection.connected:
            self._pool.go_on_connecting(connection)
            return
        request = self._busy.get(fd)
        try:
            if event & WRITABLE:
                connection.flush()
                self._pool.watch(connection)
            if event & ~WRITABLE:
                if request is not None:
                    self._receive(connection, request)
                else:
                    connection.receive(0)  # raises BlockingIOError for a TLS session ticket, which is harmless
                    self._pool.drop(connection)  # else nothing may arrive on an idle connection but its end
        except BlockingIOError:
            return
        except OSError as error:
            if request is None:
                self._pool.drop(connection)
            else:
                self._broken(request, error)

    def _receive(self, connection: Connection, request: _InFlight) -> None:
        frame, decoder = request.frame, request.decoder
        assert frame.sent_ns is not None
        data, time_ns, now_ns = connection.receive(frame.sent_ns + self._start_ns)
        try:
            if data:
                body = decoder.feed(data)
            else:
                decoder.eof()
                body = b""
        except HttpError as error:
            self._broken(request, error, "not_http" if data else "connection")
            return
        if frame.headers_ns is None and decoder.status:
            frame.headers_ns = time_ns - self._start_ns
            frame.http_status = decoder.status
            frame.server_request_id = decoder.headers.get("x-request-id", "")
        if body:
            if not request.pieces:
                self.counts["first_token"] += 1
            request.pieces.append(body)
            frame.times_ns.append(time_ns - self._start_ns)
            frame.lags_ns.append(now_ns - time_ns)
            frame.sizes.append(len(body))
            self.counts["chunks"] += 1
        if decoder.complete:
            self._end(request, "complete", ended_ns=time_ns)

    # --- ends

    def _broken(self, request: _InFlight, error: Exception, error_class: str = "connection") -> None:
        """The connection failed, or what came over it is no HTTP."""
        stale = request.was_idle_ns > _RETRY_IDLE_NS and not request.decoder.status
        if stale and request.frame.attempts == 1 and request.connection is not None:
            # The server closed an idle connection just as our request left (RFC 9112, section 9.3.1): once more.
            del self._busy[request.connection.fd]
            self._pool.drop(request.connection)
            request.connection, request.decoder = None, ResponseDecoder()
            self._pool.wait(request)
            self._pool.open_ahead(0)
            return
        self._end(request, "failed", error_class, str(error))

    def _give_up(self, request: _InFlight, ending: str, error_class: str) -> None:
        if request.connection is None:
            self._pool.leave(request)
        self._end(request, ending, error_class)

    def _end(
        self, request: _InFlight, ending: str, error_class: str = "", error: str = "", *, ended_ns: int | None = None
    ) -> None:
        frame, connection = request.frame, request.connection
        frame.ending, frame.error_class, frame.error = ending, error_class, error
        frame.ended_ns = (ended_ns or time.monotonic_ns()) - self._start_ns
        del self._live[frame.index]
        self.counts["finished" if ending == "complete" and frame.http_status == 200 else "failed"] += 1
        if connection is not None:
            del self._busy[connection.fd]
            if ending == "complete" and request.decoder.keep_alive and not connection.wants_to_write:
                self._pool.release(connection)
            else:
                self._pool.drop(connection)
        self._spool.write(frame, request.pieces)

    def _cancel_rest(self) -> None:
        for request in list(self._live.values()):
            self._give_up(request, "cancelled", "stopped")
        offsets_ns, now_ns = self._window.offsets_ns, time.monotonic_ns() - self._start_ns
        for position in range(self._next, len(self._window.requests)):
            scheduled_ns = offsets_ns[position] if offsets_ns is not None else now_ns
            index = self._window.indices[position]
            self._spool.write(Frame(index, "cancelled", scheduled_ns, 0, error_class="not_sent"), [])
