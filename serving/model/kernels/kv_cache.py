"""The paged KV cache that the kernels use: memory of this process that graphs know by a number alone."""

from __future__ import annotations

import ctypes
import weakref
from pathlib import Path

import numpy as np

from serving.link.step import Float32


class KvCache:
    """`memory` [num_layers, 2 (K, V), num_blocks, block_size, num_kv_heads, head_dim]: zeros, RAM as it is touched."""

    def __init__(
        self, library: Path, num_layers: int, num_blocks: int, block_size: int, num_kv_heads: int, head_dim: int
    ) -> None:
        """Raises RuntimeError if too many are open."""
        sizes = (num_layers, num_blocks, block_size, num_kv_heads, head_dim)
        self.memory: Float32 = np.zeros((num_layers, 2, *sizes[1:]), np.float32)
        kernels = ctypes.CDLL(str(library))
        kernels.OpenCache.argtypes = [ctypes.c_void_p, *[ctypes.c_int] * len(sizes)]
        self.number: int = kernels.OpenCache(self.memory.ctypes.data, *sizes)
        if not self.number:
            raise RuntimeError("too many KV caches are open in this process")
        # Closed before the memory goes: a step in a cache that is closed ends in an error, not in somebody's memory.
        self.close = weakref.finalize(self, kernels.CloseCache, self.number)


def set_threads(library: Path, count: int) -> None:
    """How many threads the kernels use, the caller's included."""
    ctypes.CDLL(str(library)).SetThreads(count)
