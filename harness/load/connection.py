"""One non-blocking TCP (or TLS) connection of the load generator. It knows no HTTP and no schedule."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import time
from typing import Any

from harness.load.clock import ANCILLARY_BYTES, SO_TIMESTAMPNS, ReceiveClock
from harness.load.protocols import Target

_READ_BYTES = 262144


class Endpoint:
    """A resolved target, shared by all connections. Raises OSError if the name cannot be resolved."""

    def __init__(self, target: Target) -> None:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        self.family: int = found[0][0]
        self.address: Any = found[0][4]
        self.host = target.host
        self.context = ssl.create_default_context() if target.tls else None


class Connection:
    """Opens at construction; `connected` turns true when the handshakes are over and a request may be sent."""

    _buffer = bytearray(_READ_BYTES)
    _view = memoryview(_buffer)
    _buffers = (_buffer,)

    def __init__(self, endpoint: Endpoint, clock: ReceiveClock) -> None:
        self._clock = clock
        self.socket = socket.socket(endpoint.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self.fd = self.socket.fileno()
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.connected = False
        self.idle_since_ns = 0
        self._unsent = memoryview(b"")
        self._tls: ssl.SSLObject | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        if endpoint.context:
            self._tls = endpoint.context.wrap_bio(self._incoming, self._outgoing, server_hostname=endpoint.host)
        code = self.socket.connect_ex(endpoint.address)
        if code not in (0, errno.EINPROGRESS):
            self.socket.close()
            raise OSError(code, os.strerror(code))

    @property
    def wants_to_write(self) -> bool:
        """Whether to wait for the socket to accept bytes: while connecting, or while a request is not wholly out."""
        return not self.connected or bool(self._unsent)

    def finish_connecting(self) -> None:
        """The socket became writable or readable: go on with the handshakes. Raises OSError if they failed."""
        code = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
        if self._tls is None:
            self.connected = True
            return
        try:
            received = self.socket.recv(_READ_BYTES)
            if not received:
                raise ConnectionResetError(errno.ECONNRESET, "closed during the TLS handshake")
            self._incoming.write(received)
        except BlockingIOError:
            pass  # nothing to read yet: the first flight goes out
        try:
            self._tls.do_handshake()
            self.connected = True
        except ssl.SSLWantReadError:
            pass  # the peer's next flight will make the socket readable
        self._flush(self._outgoing.read())

    def send(self, data: bytes) -> None:
        """Send a request; what the socket does not take at once follows with `flush`. Raises OSError."""
        if self._tls is not None:
            self._tls.write(data)
            data = self._outgoing.read()
        self._flush(data)

    def flush(self) -> None:
        """The socket became writable: send what is left. Raises OSError."""
        self._flush(b"")

    def receive(self, not_before_ns: int) -> tuple[bytes, int, int]:
        """Read what is there: (bytes, monotonic arrival time, monotonic time now). b"" = the peer closed.

        Raises BlockingIOError if there is nothing, OSError if the connection broke.
        """
        size, ancillary, _, _ = self.socket.recvmsg_into(self._buffers, ANCILLARY_BYTES)
        now_ns = time.monotonic_ns()
        data = bytes(self._view[:size])
        if self._tls is not None and data:
            data = self._decrypt(data)
        return data, self._clock.received_ns(ancillary, not_before_ns, now_ns), now_ns

    def close(self) -> None:
        """Close at once; unread bytes are dropped."""
        self.socket.close()

    def _decrypt(self, data: bytes) -> bytes:
        assert self._tls is not None
        self._incoming.write(data)
        out: list[bytes] = []
        try:
            while piece := self._tls.read(_READ_BYTES):
                out.append(piece)
        except ssl.SSLWantReadError:
            if not out:
                raise BlockingIOError from None  # only part of a TLS record, or a session ticket
        return b"".join(out)

    def _flush(self, data: bytes) -> None:
        pending = memoryview(bytes(self._unsent) + data) if self._unsent else memoryview(data)
        while pending:
            try:
                pending = pending[self.socket.send(pending) :]
            except BlockingIOError:
                break
        self._unsent = pending
