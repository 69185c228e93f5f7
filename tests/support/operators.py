"""What the Ascend operators compute, in NumPy and double precision, written from their documentation, loops and all.

- ReshapeAndCache, PagedAttention: MindSpore's docstrings (mindspore/ops/auto_generate/gen_ops_def.py, 2.9.0) and CANN's
  page "PagedAttentionOperation" of the Ascend Transformer Boost API: query [num_tokens, num_heads, head_size], caches
  [num_blocks, block_size, kv_head_num, head_size], blockTables [num_tokens, max_num_blocks_per_query], contextLens.
- ApplyRotaryPosEmb: rotation of halves, as in MindFormers' own RotaryEmbedding with use_rope_slice.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def softmax(scores: Array) -> Array:
    """Over one vector."""
    weights = np.exp(scores - scores.max())
    return weights / weights.sum()


def rotate(x: Array, cos: Array, sin: Array) -> Array:
    """x [tokens, heads, dim], cos and sin [tokens, dim]."""
    half = x.shape[-1] // 2
    turned = np.concatenate((-x[..., half:], x[..., :half]), -1)
    return x * cos[:, None] + turned * sin[:, None]


def reshape_and_cache(key: Array, cache: Array, slot_mapping: Array) -> Array:
    """The cache [num_blocks, block_size, heads, dim] after each token's row went to its slot."""
    result, block_size = cache.copy(), cache.shape[1]
    for row, slot in zip(key.reshape(len(slot_mapping), *cache.shape[2:]), slot_mapping, strict=True):
        result[slot // block_size, slot % block_size] = row
    return result


def paged_attention(
    query: Array, key_cache: Array, value_cache: Array, block_tables: Array, context_lens: Array, num_heads: int
) -> Array:
    """query [B, num_heads * dim] -> [B, num_heads * dim]."""
    block_size, num_kv_heads, dim = key_cache.shape[1:]
    output = np.zeros((len(query), num_heads, dim))
    for b, length in enumerate(context_lens):
        slots = [(block_tables[b, i // block_size], i % block_size) for i in range(length)]
        for head in range(num_heads):
            kv_head = head // (num_heads // num_kv_heads)
            q = query[b].reshape(num_heads, dim)[head]
            keys = np.array([key_cache[block, offset, kv_head] for block, offset in slots])
            values = np.array([value_cache[block, offset, kv_head] for block, offset in slots])
            output[b, head] = softmax(keys @ q / np.sqrt(dim)) @ values
    return output.reshape(len(query), -1)
