"""CPU stand-ins for the Ascend operators of MindFormers' inference path: same calls, same shapes, same layouts.

MindFormers' cells stay as they are; only the operator inside each is exchanged (`install`). The stand-ins are made of
plain MindSpore operators that have CPU kernels. What they must compute is written down, in NumPy, in
tests/mindspore/operators_for_tests.py. Not verified on device: that the Ascend operators do the same.

They serve where kernels/ cannot: in float16, and where no compiler is.
"""

from __future__ import annotations

import math

import mindspore as ms
from mindformers import LlamaForCausalLM
from mindspore import Tensor, nn, ops

_MASKED = -1e9  # added to a score that must not count; exp() of it is exactly 0 in float32


class ApplyRotaryPosEmb(nn.Cell):
    """mindspore.ops.ApplyRotaryPosEmb with cos_format 0.

    query [B, 1, N1 * D], key [B, 1, N2 * D]; cos, sin [B, D], one row per token.
    """

    def __init__(self) -> None:
        super().__init__(auto_prefix=False)

    def construct(self, query: Tensor, key: Tensor, cos: Tensor, sin: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(query, key), rotated, in their own shapes."""
        head_dim = cos.shape[-1]
        cos, sin = cos.reshape(-1, 1, head_dim), sin.reshape(-1, 1, head_dim)
        return self._rotate(query, cos, sin), self._rotate(key, cos, sin)

    def _rotate(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        head_dim = cos.shape[-1]
        heads = x.reshape(cos.shape[0], -1, head_dim)
        left, right = ops.split(heads, head_dim // 2, -1)
        return (heads * cos + ops.cat((-right, left), -1) * sin).reshape(x.shape)


class ReshapeAndCache(nn.Cell):
    """mindspore.ops ReshapeAndCache: K and V of each token into the slot (block * block_size + offset) it is given.

    key, value [..., N2 * D]; caches [num_blocks, block_size, N2, D]; slot_mapping int32 [num_tokens].
    """

    def __init__(self, block_size: int) -> None:
        super().__init__(auto_prefix=False)
        self.block_size = block_size
        self.update = ops.ScatterNdUpdate()

    def construct(
        self, key: Tensor, value: Tensor, key_cache: Tensor, value_cache: Tensor, slot_mapping: Tensor
    ) -> Tensor:
        """The key; the caches are changed in place."""
        num_kv_heads, head_dim = key_cache.shape[2], key_cache.shape[3]
        block, offset = slot_mapping // self.block_size, slot_mapping % self.block_size
        where = ops.cat((block.reshape(-1, 1), offset.reshape(-1, 1)), 1)
        keys = self.update(key_cache, where, key.reshape(-1, num_kv_heads, head_dim))
        values = self.update(value_cache, where, value.reshape(-1, num_kv_heads, head_dim))
        return ops.depend(ops.depend(key, keys), values)


class PagedAttention(nn.Cell):
    """mindspore.ops PagedAttention: one query token per sequence over the K and V that its block table names.

    query [B, 1, N1 * D]; caches [num_blocks, block_size, N2, D]; block_tables int32 [B, max_blocks], whose entries
    beyond the context may name any block; context_lens int32 [B].
    """

    def __init__(self, num_heads: int, num_kv_heads: int, head_dim: int) -> None:
        super().__init__(auto_prefix=False)
        self.num_heads, self.num_kv_heads, self.head_dim = num_heads, num_kv_heads, head_dim
        self.scale = 1.0 / math.sqrt(head_dim)

    def construct(
        self, query: Tensor, key_cache: Tensor, value_cache: Tensor, block_tables: Tensor, context_lens: Tensor
    ) -> Tensor:
        """Output [B, 1, N1 * D]."""
        batch, kv, dim = block_tables.shape[0], self.num_kv_heads, self.head_dim
        window = block_tables.shape[1] * key_cache.shape[1]
        beyond = ops.arange(0, window).reshape(1, 1, 1, window) >= context_lens.reshape(batch, 1, 1, 1)
        mask = ops.cast(beyond, ms.float32) * _MASKED
        k = ops.gather(key_cache, block_tables, 0).reshape(batch, window, kv, dim).transpose(0, 2, 3, 1)
        v = ops.gather(value_cache, block_tables, 0).reshape(batch, window, kv, dim).transpose(0, 2, 1, 3)
        q = (query * self.scale).reshape(batch, kv, self.num_heads // kv, dim)
        scores = ops.cast(ops.BatchMatMul()(q, k), ms.float32)
        weights = ops.cast(ops.Softmax(-1)(scores + mask), query.dtype)
        return ops.BatchMatMul()(weights, v).reshape(batch, 1, self.num_heads * dim)


def install(network: LlamaForCausalLM) -> None:
    """Exchange the Ascend operators inside every layer's inference attention for the stand-ins."""
    config = network.config
    num_kv_heads = config.n_kv_heads or config.num_heads
    heads = (config.num_heads, num_kv_heads, config.hidden_size // config.num_heads)
    for layer in network.model.layers:
        attention = layer.attention.infer_attention
        _exchange(attention.rotary_embedding, "rotary_embedding_op", ApplyRotaryPosEmb())
        _exchange(attention.paged_attention_mgr, "reshape_and_cache", ReshapeAndCache(config.block_size))
        _exchange(attention.paged_attention_mgr, "paged_attention", PagedAttention(*heads))


def _exchange(cell: nn.Cell, name: str, stand_in: nn.Cell) -> None:
    delattr(cell, name)  # a Cell does not let a Cell take a Primitive's name
    setattr(cell, name, stand_in)
