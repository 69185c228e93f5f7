"""One shared-memory segment: made by the engine, opened by the agent, unlinked at once. Knows no layout.

Not multiprocessing.shared_memory: its resource tracker unlinks segments that another process still uses, and warns
about those that it does not know. A file in /dev/shm whose name is gone before the first step leaks nothing, whoever
is killed.
"""

from __future__ import annotations

import errno
import mmap
import os
import secrets
from pathlib import Path

from serving.link.errors import SharedMemoryError, WrongSize

FOLDER = Path("/dev/shm")


class Segment:
    """A mapped segment; `memory` stays valid as long as something refers to it."""

    def __init__(self, name: str, descriptor: int, num_bytes: int) -> None:
        self.name = name
        self.num_bytes = num_bytes
        self.memory = memoryview(mmap.mmap(descriptor, num_bytes))

    @classmethod
    def create(cls, prefix: str, num_bytes: int) -> Segment:
        """A new segment with a random name after `prefix`, mode 0600, its memory reserved now (no later SIGBUS).

        Raises SharedMemoryError, which names the space needed and free and the keys to lower.
        """
        name = prefix + secrets.token_hex(8)
        path = FOLDER / name
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, num_bytes)
            return cls(name, descriptor, num_bytes)
        except OSError as error:
            path.unlink()
            if error.errno not in (errno.ENOSPC, errno.ENOMEM):
                raise
            free = os.statvfs(FOLDER).f_bavail * os.statvfs(FOLDER).f_frsize
            raise SharedMemoryError(
                f"{FOLDER} has {free:,} bytes free, {num_bytes:,} are needed: "
                "lower serving.batch.decode, serving.prefill.max_prompts or serving.prefill.max_tokens"
            ) from error
        finally:
            os.close(descriptor)

    @classmethod
    def open(cls, name: str, num_bytes: int) -> Segment:
        """The segment that the engine made. Raises SharedMemoryError or WrongSize."""
        if "/" in name:
            raise SharedMemoryError(f"not a segment name: {name!r}")
        try:
            descriptor = os.open(FOLDER / name, os.O_RDWR)
        except OSError as error:
            raise SharedMemoryError(f"cannot open {FOLDER / name}: {error.strerror}") from error
        try:
            actual = os.fstat(descriptor).st_size
            if actual != num_bytes:
                raise WrongSize(f"segment {name} has {actual} bytes, {num_bytes} were announced")
            return cls(name, descriptor, num_bytes)
        finally:
            os.close(descriptor)

    def unlink(self) -> None:
        """Remove the name; a second call does nothing."""
        (FOLDER / self.name).unlink(missing_ok=True)
