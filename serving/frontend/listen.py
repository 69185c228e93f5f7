"""Where the front end listens: a checked address and a bound socket."""

from __future__ import annotations

import errno
import ipaddress
import resource
import socket

from serving.config import HttpConfig

BACKLOG = 2048  # connections that may arrive at once before the event loop looks
# Bounds what the kernel buffers for one slow reader (it doubles this); Linux would otherwise let it grow to megabytes.
SEND_BUFFER_BYTES = 131_072


class ListenError(Exception):
    """The address cannot be listened on; the message is one line with the configuration key."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def open_socket(http: HttpConfig) -> socket.socket:
    """A listening socket. Raises ListenError: public without a key, no such address, port taken."""
    if not http.api_key and not is_loopback(http.host):
        raise ListenError(f"serving.http.host: {http.host!r} is not loopback: that needs a serving.http.api_key")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            http.host, http.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise ListenError(f"serving.http.host: {http.host!r} is no address here: {error.strerror}") from error
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    try:
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            message = f"{http.port} on {http.host} is in use; choose another, or 0 for any free one"
        else:
            message = f"cannot listen on {http.host}:{http.port}: {error.strerror}"
        raise ListenError(f"serving.http.port: {message}") from error
    listener.setblocking(False)
    return listener


def raise_file_limit() -> None:
    """Every connection is a file descriptor, and the usual soft limit of 1024 is less than one busy client's."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
