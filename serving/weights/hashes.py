"""sha256 of files that may be large: with progress, and remembered for as long as a file does not change."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from serving import whole_file

FOLDER = "hashes"  # of the cache
_CHUNK_BYTES = 1 << 24

# (bytes read so far, bytes in all)
OnBytes = Callable[[int, int], None]


def file_sha256(path: Path, on_bytes: OnBytes | None = None) -> str:
    """Hex sha256 of a file, read in pieces. Raises OSError."""
    digest, total, done = hashlib.sha256(), path.stat().st_size, 0
    buffer = memoryview(bytearray(_CHUNK_BYTES))
    with path.open("rb", buffering=0) as file:
        while num_bytes := file.readinto(buffer):
            digest.update(buffer[:num_bytes])
            done += num_bytes
            if on_bytes:
                on_bytes(done, total)
    return digest.hexdigest()


def remembered_sha256(path: Path, cache: Path, on_bytes: OnBytes | None = None) -> str:
    """The same; a file of the same path, size and modification time is not read again. `cache` is a folder."""
    path = path.resolve()
    status = path.stat()
    key = hashlib.sha256(f"{path} {status.st_size} {status.st_mtime_ns}".encode()).hexdigest()
    known = cache / key
    if known.is_file():
        return known.read_text()
    digest = file_sha256(path, on_bytes)
    cache.mkdir(parents=True, exist_ok=True)
    whole_file.write_text(known, digest)
    return digest


def joint_sha256(digests: Sequence[str]) -> str:
    """One digest of one file, or of the digests of several in their order."""
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
