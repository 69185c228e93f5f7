"""Where the front end listens: a checked address and a bound socket."""

from __future__ import annotations

import os
import resource
import socket

from serving.config import HttpConfig
from serving.validate import host_problem

BACKLOG = 2048  # connections that may arrive at once before the event loop looks
# Bounds what the kernel buffers for one slow reader (it doubles this); Linux would otherwise let it grow to megabytes.
SEND_BUFFER_BYTES = 131_072


class ListenError(Exception):
    """The address cannot be listened on; the message is one line with the configuration key."""


def open_socket(http: HttpConfig) -> socket.socket:
    """A listening socket. Raises ListenError: public without a key, no such address, port taken."""
    if problem := host_problem(http):
        raise ListenError(problem)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            http.host, http.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise ListenError(f"serving.http.host={http.host}: is no address here: {error.strerror}") from error
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    try:
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        reason = f"cannot listen on {http.host}:{http.port} ({os.strerror(error.errno or 0)})"
        message = f"serving.http.port={http.port}: {reason}; choose another port, or 0 for any free one"
        raise ListenError(message) from error
    listener.setblocking(False)
    return listener


def raise_file_limit() -> None:
    """Every connection is a file descriptor, and the usual soft limit of 1024 is less than one busy client's."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
