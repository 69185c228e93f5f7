"""The open connections of one load worker: idle ones kept ahead of need, so that no TCP connect is part of a latency.

It knows no HTTP and no requests; whoever needs a connection asks, and is called back if it had to wait.
"""

from __future__ import annotations

import select
import time
from collections import deque
from typing import Generic, Protocol, TypeVar

from harness.load.clock import ReceiveClock
from harness.load.connection import Connection, Endpoint

READABLE, WRITABLE = select.EPOLLIN | select.EPOLLRDHUP, select.EPOLLOUT

User = TypeVar("User")
User_contra = TypeVar("User_contra", contravariant=True)


class Callbacks(Protocol[User_contra]):
    """What the pool tells its owner about those who waited."""

    def granted(self, user: User_contra, connection: Connection) -> None:
        """A connection is free for one that waited."""

    def refused(self, user: User_contra, error: OSError) -> None:
        """No connection could be opened for the one that waited longest."""


class ConnectionPool(Generic[User]):
    """Idle, connecting and lent connections, all registered with the owner's epoll.

    ahead: idle connections to keep open beyond those waited for. max_connections: a cap; 0 = none. Connections opened
    use `clock` to time what they receive.
    """

    def __init__(
        self, endpoint: Endpoint, epoll: select.epoll, clock: ReceiveClock, ahead: int, max_connections: int
    ) -> None:
        self._endpoint = endpoint
        self._epoll = epoll
        self._clock = clock
        self._ahead = ahead
        self._limit = max_connections or 1 << 30
        self._connections: dict[int, Connection] = {}
        self._idle: list[Connection] = []
        self._waiting: deque[User] = deque()
        self._num_connecting = 0
        self.callbacks: Callbacks[User]

    @property
    def num_connecting(self) -> int:
        """Connections whose handshakes are not over."""
        return self._num_connecting

    def find(self, fd: int) -> Connection | None:
        """The open connection with this descriptor."""
        return self._connections.get(fd)

    def take(self) -> Connection | None:
        """An idle connection, the last one used first; None if there is none."""
        return self._idle.pop() if self._idle else None

    def wait(self, user: User) -> None:
        """Queue for the next connection that becomes free."""
        self._waiting.append(user)

    def leave(self, user: User) -> None:
        """Stop waiting."""
        self._waiting.remove(user)

    def release(self, connection: Connection) -> None:
        """A connection is free again, or newly open: the one waiting longest gets it."""
        connection.idle_since_ns = time.monotonic_ns()
        if self._waiting:
            self.callbacks.granted(self._waiting.popleft(), connection)
        else:
            self._idle.append(connection)

    def drop(self, connection: Connection) -> None:
        """Close a connection, lent or idle."""
        if connection in self._idle:
            self._idle.remove(connection)
        del self._connections[connection.fd]
        self._epoll.unregister(connection.fd)
        connection.close()

    def watch(self, connection: Connection) -> None:
        """Have epoll wait for what the connection waits for now."""
        self._epoll.modify(connection.fd, READABLE | WRITABLE if connection.wants_to_write else READABLE)

    def open_ahead(self, most: int) -> None:
        """Open what is waited for, and up to `most` (at most `ahead`) more."""
        wanted = len(self._waiting) + min(self._ahead, most)
        while len(self._idle) + self._num_connecting < wanted and len(self._connections) < self._limit:
            try:
                self.open()
            except OSError as error:
                self._refuse(error)
                return

    def open(self) -> None:
        """Begin to open one connection. Raises OSError if that fails at once."""
        connection = Connection(self._endpoint, self._clock)
        self._connections[connection.fd] = connection
        self._num_connecting += 1
        self._epoll.register(connection.fd, READABLE | WRITABLE)

    def go_on_connecting(self, connection: Connection, raising: bool = False) -> None:
        """An event came for a connection that is not connected yet. `raising`: raise OSError rather than refuse."""
        try:
            connection.finish_connecting()
        except OSError as error:
            self._num_connecting -= 1
            self.drop(connection)
            if raising:
                raise
            self._refuse(error)
            return
        if connection.connected:
            self._num_connecting -= 1
            self._epoll.modify(connection.fd, READABLE)
            self.release(connection)
        else:
            self._epoll.modify(connection.fd, READABLE)  # a TLS handshake goes on when the peer answers

    def _refuse(self, error: OSError) -> None:
        if self._waiting:
            self.callbacks.refused(self._waiting.popleft(), error)
