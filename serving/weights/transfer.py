"""Gets one file over HTTP: resumed where it was cut off, checked before it has its name. Knows no registry."""

from __future__ import annotations

import fcntl
import http.client
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from serving.memory.plan import gigabytes
from serving.weights.errors import ModelError
from serving.weights.hashes import file_sha256

_CHUNK_BYTES = 1 << 20
_TIMEOUT_S = 60.0
_NUM_TRIES = 5  # in a row that bring nothing new
_CUT = (ConnectionError, TimeoutError, http.client.IncompleteRead, http.client.BadStatusLine)

OnBytes = Callable[[int, int], None]  # (bytes there, bytes in all; 0 = unknown)


class _Interrupted(Exception):
    """The connection ended before the file did; what came is kept."""


def transfer(
    url: str, path: Path, num_bytes: int | None, sha256: str | None, on_bytes: OnBytes, pause_s: float = 1.0
) -> str:
    """Fetch `url` to `path` and return its sha256; `path` appears whole and checked, or not at all.

    What an earlier, interrupted call left behind (`path`.partial) is gone on with if the server still has the same
    file. `num_bytes` and `sha256`, where known, must be the file's. Raises ModelError in one line.
    """
    partial, same = path.with_name(path.name + ".partial"), path.with_name(path.name + ".partial.version")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("ab") as file:
            _lock(file, path)
            _fetch_all(url, file, same, num_bytes, on_bytes, pause_s)
            digest = file_sha256(partial, on_bytes)
            if sha256 is not None and digest != sha256:
                partial.unlink()
                same.unlink(missing_ok=True)
                raise ModelError(f"{url}: wrong sha256 {digest}, expected {sha256}; the file was removed")
            partial.replace(path)
            same.unlink(missing_ok=True)
    except OSError as error:
        raise ModelError(f"cannot write {path}: {error.strerror or error}") from error
    return digest


def _lock(file: BinaryIO, path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ModelError(f"{path}: another process is fetching it") from None


def _fetch_all(url: str, file: BinaryIO, same: Path, num_bytes: int | None, on_bytes: OnBytes, pause_s: float) -> None:
    failures = 0
    while True:
        before = file.tell()
        try:
            _fetch_rest(url, file, same, num_bytes, on_bytes)
            return
        except _Interrupted as cut:
            failures = 0 if file.tell() > before else failures + 1
            if failures >= _NUM_TRIES:
                raise ModelError(
                    f"{url}: {cut}, {_NUM_TRIES} times; {gigabytes(file.tell())} are kept, and the same command goes "
                    "on from there"
                ) from None
            time.sleep(pause_s * 2**failures)


def _fetch_rest(url: str, file: BinaryIO, same: Path, num_bytes: int | None, on_bytes: OnBytes) -> None:
    """One request for what is still missing. Raises _Interrupted if less came."""
    version = same.read_text() if same.is_file() else ""
    if not version:  # nothing says that what is there belongs to the file of now
        file.truncate(0)
    file.seek(0, 2)
    if num_bytes is not None and file.tell() == num_bytes:
        return
    headers = {"Accept-Encoding": "identity"}
    if file.tell():
        headers |= {"Range": f"bytes={file.tell()}-", "If-Range": version}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT_S) as reply:
            total = _begin(url, reply, file, same, num_bytes)
            while chunk := reply.read(_CHUNK_BYTES):
                file.write(chunk)
                on_bytes(file.tell(), total)
            if file.tell() < total:
                raise _Interrupted(f"cut off after {gigabytes(file.tell())} of {gigabytes(total)}")
    except urllib.error.HTTPError as error:
        if error.code == 416:  # there is no more: the file has become shorter
            same.unlink(missing_ok=True)
            raise _Interrupted("the file has changed") from None
        if error.code >= 500:
            raise _Interrupted(f"HTTP {error.code} {error.reason}") from None
        raise ModelError(f"{url}: HTTP {error.code} {error.reason}") from None
    except _CUT as error:
        raise _Interrupted(f"cut off after {gigabytes(file.tell())} ({type(error).__name__})") from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, _CUT) and file.tell():
            raise _Interrupted(str(error.reason)) from None
        raise ModelError(f"{url}: cannot be reached ({error.reason}); is there a network, or a proxy to set?") from None
    finally:
        file.flush()


def _begin(url: str, reply: http.client.HTTPResponse, file: BinaryIO, same: Path, num_bytes: int | None) -> int:
    """Make the file ready for what the reply brings; the size of the whole, 0 = unknown. Raises ModelError."""
    if reply.status != 206:  # the whole from its start, whatever was asked for
        file.truncate(0)
        file.seek(0)
    length = reply.headers.get("Content-Length")
    total = file.tell() + int(length) if length else 0
    if num_bytes is not None and total and total != num_bytes:
        raise ModelError(f"{url}: has {total:,} bytes, expected {num_bytes:,}: it is another file")
    free = shutil.disk_usage(same.parent).free
    if total - file.tell() > free:
        raise ModelError(f"{url}: {gigabytes(total - file.tell())} to fetch, {gigabytes(free)} free in {same.parent}")
    version = reply.headers.get("ETag") or reply.headers.get("Last-Modified") or ""
    if version.startswith("W/"):  # says nothing about single bytes
        version = ""
    same.write_text(version)
    return total
