"""Segments are private, whole, seen by both sides, and gone when unlinked."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest

from serving.link import errors
from serving.link.layout import MAX_TOP_LOGPROBS, Shapes, areas, segment_bytes
from serving.link.segment import FOLDER, Segment

PREFIX = f"plumbline-test{os.getpid()}-"
SHAPES = Shapes(max_seqs=3, max_tokens=10, max_blocks=5, block_size=4, num_blocks=9)


def names() -> list[str]:
    return [path.name for path in FOLDER.glob(f"{PREFIX}*")]


def test_both_sides_see_the_same_memory_after_the_name_is_gone():
    ours = Segment.create(PREFIX, 8192)
    assert names() == [ours.name]
    assert (FOLDER / ours.name).stat().st_mode & 0o777 == 0o600
    theirs = Segment.open(ours.name, 8192)
    ours.unlink()
    ours.unlink()
    assert names() == []
    ours.memory[17] = 42
    assert theirs.memory[17] == 42


def test_a_wrong_size_or_name_is_named():
    segment = Segment.create(PREFIX, 4096)
    try:
        with pytest.raises(errors.WrongSize, match="has 4096 bytes, 8192 were announced"):
            Segment.open(segment.name, 8192)
    finally:
        segment.unlink()
    with pytest.raises(errors.SharedMemoryError, match="No such file"):
        Segment.open(segment.name, 4096)
    with pytest.raises(errors.SharedMemoryError, match="not a segment name"):
        Segment.open("../etc/passwd", 4096)


def test_no_space_says_what_is_needed_and_what_to_lower(monkeypatch):
    def full(descriptor: int, offset: int, num_bytes: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(errors.SharedMemoryError, match=r"bytes free, 9,000,000,000 are needed: lower serving\.batch"):
        Segment.create(PREFIX, 9_000_000_000)
    assert names() == []


def test_areas_do_not_overlap_and_fit_the_segment():
    memory = bytearray(segment_bytes(SHAPES, 50))
    first, second = areas(memoryview(memory), SHAPES, 50)
    arrays = [array for area in (first, second) for array in vars(area).values() if isinstance(array, np.ndarray)]
    for number, array in enumerate(arrays, start=1):
        array[...] = number
    assert all((array == number).all() for number, array in enumerate(arrays, start=1))
    assert first.logits.shape == (3, 50)
    assert first.top_ids.shape == (3, MAX_TOP_LOGPROBS)
    assert all(array.__array_interface__["data"][0] % 4 == 0 for array in arrays)
