"""Gets one file over HTTP: resumed where it was cut off, checked before it has its name. Knows no registry.

requests and urllib3 carry the bytes and repeat requests. No library in requirements.lock both resumes and checks:
http_get of huggingface_hub 0.36 resumes, but not where a body was cut off (requests' ChunkedEncodingError), and it does
not see that the file has changed meanwhile.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from serving.memory.plan import gigabytes
from serving.weights.errors import ModelError
from serving.weights.hashes import file_sha256

_CHUNK_BYTES = 1 << 16  # of a chunk that is cut off nothing is kept
_TIMEOUT_S = 60.0
_NUM_RETRIES = 4
_BACKOFF_S = 1.0  # doubles with every retry

OnBytes = Callable[[int, int], None]  # (bytes there, bytes in all; 0 = unknown)


def transfer(url: str, path: Path, num_bytes: int | None, sha256: str | None, on_bytes: OnBytes) -> str:
    """Fetch `url` to `path` and return its sha256; `path` appears whole and checked, or not at all.

    What an earlier, interrupted call left behind (`path`.partial) is gone on with if the server still has the same
    file. `num_bytes` and `sha256`, where known, must be the file's. Raises ModelError in one line.
    """
    partial, version = path.with_name(path.name + ".partial"), path.with_name(path.name + ".partial.version")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            while not _fetch_rest(url, file, version, num_bytes, on_bytes):
                pass
            digest = file_sha256(partial, on_bytes)
            if sha256 is not None and digest != sha256:
                partial.unlink()
                version.unlink(missing_ok=True)
                raise ModelError(f"{url}: wrong sha256 {digest}, expected {sha256}; the file was removed")
            partial.replace(path)
            version.unlink(missing_ok=True)
    except BlockingIOError:
        raise ModelError(f"{path}: another process is fetching it") from None
    except OSError as error:
        raise ModelError(f"cannot write {path}: {error.strerror or error}") from error
    return digest


def _fetch_rest(url: str, file: BinaryIO, version: Path, num_bytes: int | None, on_bytes: OnBytes) -> bool:
    """One request for what is still missing; False if it brought some of it. Raises ModelError if it brought none."""
    num_before = start = file.seek(0, 2)
    if not (etag := version.read_text() if version.is_file() else ""):
        file.truncate(0)  # nothing says that what is there belongs to the file of now
        start = file.seek(0)
    if start and start == num_bytes:
        return True
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-", "If-Range": etag} if start else {})
    try:
        with (
            _session(resuming=start > 0) as session,
            session.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S) as reply,
        ):
            if start and reply.status_code == 416:  # there is no more: the file has become shorter
                version.unlink()
                return False
            if not reply.ok:
                raise ModelError(f"{url}: HTTP {reply.status_code} {reply.reason}")
            total = _begin(url, reply, file, version, num_bytes)
            for chunk in reply.iter_content(_CHUNK_BYTES):
                file.write(chunk)
                on_bytes(file.tell(), total)
            return True
    except requests.RequestException as error:
        if file.tell() > num_before:
            return False
        kept = f"{gigabytes(start)} are kept, and the same command goes on from there"
        advice = kept if start else "is there a network, or a proxy to set?"
        raise ModelError(f"{url}: cannot be reached ({error}); {advice}") from None
    finally:
        file.flush()


def _session(resuming: bool) -> requests.Session:
    """A session that asks again where that may help; a first connection that fails is told at once."""
    retry = Retry(
        _NUM_RETRIES,
        connect=_NUM_RETRIES if resuming else 0,
        status_forcelist=(500, 502, 503, 504),
        raise_on_status=False,
        backoff_factor=_BACKOFF_S,
    )
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    return session


def _begin(url: str, reply: requests.Response, file: BinaryIO, version: Path, num_bytes: int | None) -> int:
    """Make the file ready for what the reply brings; the size of the whole, 0 = unknown. Raises ModelError."""
    if reply.status_code != 206:  # the whole from its start, whatever was asked for
        file.truncate(0)
        file.seek(0)
    length = reply.headers.get("Content-Length")
    total = file.tell() + int(length) if length else 0
    if num_bytes is not None and total and total != num_bytes:
        raise ModelError(f"{url}: has {total:,} bytes, expected {num_bytes:,}: it is another file")
    missing, free = total - file.tell(), shutil.disk_usage(version.parent).free
    if missing > free:
        raise ModelError(f"{url}: {gigabytes(missing)} to fetch, {gigabytes(free)} free in {version.parent}")
    etag = reply.headers.get("ETag") or reply.headers.get("Last-Modified") or ""
    version.write_text("" if etag.startswith("W/") else etag)  # a weak one says nothing about single bytes
    return total
