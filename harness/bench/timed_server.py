"""A server with a known answer: every reply's first token after a fixed TTFT, the next ones at a fixed ITL.

`python -m harness.bench.timed_server --ttft-ms 50 --itl-ms 10 --log FILE` prints {"port": P} and serves until its
stdin ends. It speaks the judge protocol and OpenAI completions and chat, streamed, and logs, per request, on
CLOCK_MONOTONIC: when the request reached this host (kernel time), when it was read, and when each token was handed to
the kernel. The load generator is measured against this log (harness.bench.fidelity); so that the log means something,
the server sends at absolute times and works like the generator: one thread, one epoll, one timer.
"""

from __future__ import annotations

import argparse
import heapq
import json
import select
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from harness.bench.timed_replies import Reply, models_reply, reply_for
from harness.load.clock import ANCILLARY_BYTES, SO_TIMESTAMPNS, ReceiveClock, Timer

_BACKLOG = 4096


@dataclass(slots=True)
class _Peer:
    socket: socket.socket
    inbox: bytes = b""
    received_ns: int = 0  # of the first byte of the request being read
    stream: _Stream | None = None


@dataclass(slots=True)
class _Stream:
    request_id: str
    peer: _Peer
    reply: Reply
    received_ns: int
    read_ns: int
    num_sent: int = 0
    sent_ns: list[int] = field(default_factory=list)


class TimedServer:
    """Serves on loopback. Each reply's token k leaves at arrival + ttft + k * itl, or as soon after as it can."""

    def __init__(self, ttft_ms: float, itl_ms: float, port: int, log: IO[str]) -> None:
        self._ttft_ns, self._itl_ns = round(ttft_ms * 1e6), round(itl_ms * 1e6)
        self._log = log
        self._listener = socket.create_server(("127.0.0.1", port), backlog=_BACKLOG)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._clock, self._timer, self._epoll = ReceiveClock(), Timer(), select.epoll()
        self._epoll.register(self._listener, select.EPOLLIN)
        self._epoll.register(self._timer.fileno(), select.EPOLLIN)
        self._peers: dict[int, _Peer] = {}
        self._due: list[tuple[int, int, _Stream]] = []  # (when, tie-breaker, stream)
        self._num_requests = 0

    def serve(self, until: int) -> None:
        """Serve until the descriptor `until` becomes readable (or ends)."""
        self._epoll.register(until, select.EPOLLIN)
        while True:
            if self._due:
                self._timer.set(self._due[0][0])
            for fd, _ in self._epoll.poll():
                if fd == until:
                    self._log.flush()
                    return
                if fd == self._timer.fileno():
                    self._timer.clear()
                    self._clock.refresh()
                elif fd == self._listener.fileno():
                    self._accept()
                else:
                    self._read(self._peers[fd])
                self._send_due()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                return
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            self._peers[connection.fileno()] = _Peer(connection)
            self._epoll.register(connection, select.EPOLLIN)

    def _read(self, peer: _Peer) -> None:
        try:
            data, ancillary, _, _ = peer.socket.recvmsg(65536, ANCILLARY_BYTES)
        except ConnectionError:
            data, ancillary = b"", []
        now_ns = time.monotonic_ns()
        if not data:
            self._close(peer)
            return
        if not peer.inbox:
            peer.received_ns = self._clock.received_ns(ancillary, 0, now_ns)
        peer.inbox += data
        head, found, rest = peer.inbox.partition(b"\r\n\r\n")
        if not found:
            return
        length = _content_length(head)
        if len(rest) < length:
            return
        path, body = head.split(b" ", 2)[1].decode(), rest[:length]
        peer.inbox = rest[length:]
        self._num_requests += 1
        if head.startswith(b"GET"):
            peer.socket.send(models_reply(path))
            return
        stream = _Stream(f"r-{self._num_requests}", peer, reply_for(path, json.loads(body)), peer.received_ns, now_ns)
        peer.stream = stream
        heapq.heappush(self._due, (stream.received_ns + self._ttft_ns, self._num_requests, stream))

    def _send_due(self) -> None:
        while self._due and self._due[0][0] <= time.monotonic_ns():
            due_ns, tie, stream = heapq.heappop(self._due)
            if stream.peer.stream is not stream:
                continue  # the client left
            last = stream.num_sent + 1 == stream.reply.num_tokens
            data = stream.reply.token(stream.num_sent, stream.request_id)
            stream.sent_ns.append(time.monotonic_ns())
            try:
                # The kernel's buffer holds a stream of this size whole, so a send is never partial on loopback.
                stream.peer.socket.send(data + stream.reply.end() if last else data)
            except OSError:
                self._close(stream.peer)
                continue
            stream.num_sent += 1
            if last:
                self._finish(stream)
            else:
                heapq.heappush(self._due, (due_ns + self._itl_ns, tie, stream))

    def _finish(self, stream: _Stream) -> None:
        stream.peer.stream = None
        row: dict[str, Any] = {
            "id": stream.request_id,
            "received_ns": stream.received_ns,
            "read_ns": stream.read_ns,
            "sent_ns": stream.sent_ns,
        }
        self._log.write(json.dumps(row) + "\n")

    def _close(self, peer: _Peer) -> None:
        peer.stream = None
        del self._peers[peer.socket.fileno()]
        peer.socket.close()


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return 0


def main() -> None:
    """Parse options, print the port, serve until stdin ends."""
    parser = argparse.ArgumentParser(
        prog="python -m harness.bench.timed_server", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--ttft-ms", type=float, default=50.0)
    parser.add_argument("--itl-ms", type=float, default=10.0)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path, required=True, help="JSON lines, one per finished request")
    options = parser.parse_args()
    with options.log.open("w", encoding="utf-8", buffering=1 << 20) as log:
        server = TimedServer(options.ttft_ms, options.itl_ms, options.port, log)
        print(json.dumps({"port": server.port}), flush=True)
        server.serve(sys.stdin.fileno())


if __name__ == "__main__":
    main()
