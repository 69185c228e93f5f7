"""The CPU stand-ins against support/operators.py: calls, shapes and results as the Ascend operators' documents say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from serving.config import DeviceConfig
from tests.support import operators as expected

pytestmark = pytest.mark.mindspore
DIM = 16
TOLERANCE = {"float32": {"atol": 1e-5, "rtol": 1e-5}, "float16": {"atol": 4e-3, "rtol": 4e-3}}
HEADS = [(4, 4), (6, 2), (8, 1)]  # multi-head, grouped, one KV head
DTYPES = ["float32", "float16"]


@pytest.fixture(scope="module")
def ms(own_folder: None) -> Any:
    import mindspore

    from serving.model import runtime

    runtime.set_up(DeviceConfig(), 0, None)
    return mindspore


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("num_heads", "num_kv_heads"), HEADS)
def test_paged_attention(ms: Any, rng: np.random.Generator, num_heads: int, num_kv_heads: int, dtype: str) -> None:
    from serving.model.cpu_kernels import PagedAttention

    block_size, num_blocks = 4, 20
    key_cache, value_cache = rng.standard_normal((2, num_blocks, block_size, num_kv_heads, DIM)).astype(dtype)
    # Blocks in any order, with holes; a length at, before and after a block's edge, and of one.
    block_tables = np.array([[7, 3, 0], [1, 19, 4], [12, 2, 9], [5, 0, 0]], np.int32)
    context_lens = np.array([8, 9, 11, 1], np.int32)
    query = rng.standard_normal((4, 1, num_heads * DIM)).astype(dtype)
    cell = PagedAttention(num_heads, num_kv_heads, DIM)
    arrays = (query, key_cache, value_cache, block_tables, context_lens)
    output = cell(*(ms.Tensor(array) for array in arrays)).asnumpy()
    assert (output.shape, output.dtype) == ((4, 1, num_heads * DIM), np.dtype(dtype))
    exact = expected.paged_attention(query[:, 0], key_cache, value_cache, block_tables, context_lens, num_heads)
    np.testing.assert_allclose(output[:, 0], exact, **TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
def test_reshape_and_cache_changes_the_given_slots_alone(ms: Any, rng: np.random.Generator, dtype: str) -> None:
    from mindspore import Parameter, nn

    from serving.model.cpu_kernels import ReshapeAndCache

    before = rng.standard_normal((2, 6, 4, 2, DIM)).astype(dtype)

    class Owner(nn.Cell):
        """Holds the caches, as MindFormers' PagedAttentionMgr does."""

        def __init__(self) -> None:
            super().__init__()
            self.keys, self.values = Parameter(ms.Tensor(before[0]), "k"), Parameter(ms.Tensor(before[1]), "v")
            self.update = ReshapeAndCache(block_size=4)

        def construct(self, key: Any, value: Any, slots: Any) -> Any:
            return self.update(key, value, self.keys, self.values, slots)

    key, value = rng.standard_normal((2, 1, 5, 2 * DIM)).astype(dtype)
    slots = np.array([23, 4, 0, 11, 12], np.int32)  # the last slot of the last block, block edges, slot 0
    owner = Owner()
    returned = owner(ms.Tensor(key), ms.Tensor(value), ms.Tensor(slots)).asnumpy()
    assert np.array_equal(returned, key)
    assert np.array_equal(owner.keys.asnumpy(), expected.reshape_and_cache(key[0], before[0], slots))
    assert np.array_equal(owner.values.asnumpy(), expected.reshape_and_cache(value[0], before[1], slots))


@pytest.mark.parametrize("dtype", DTYPES)
def test_rotary_embedding(ms: Any, rng: np.random.Generator, dtype: str) -> None:
    from serving.model.cpu_kernels import ApplyRotaryPosEmb

    angles = np.outer(np.arange(32), 10000.0 ** (-np.arange(0, DIM, 2) / DIM))
    lengths = np.array([6, 1, 32, 7], np.int32)
    cos, sin = (np.tile(table, 2).astype(dtype)[lengths - 1] for table in (np.cos(angles), np.sin(angles)))
    query = rng.standard_normal((4, 1, 4 * DIM)).astype(dtype)
    key = rng.standard_normal((4, 1, 2 * DIM)).astype(dtype)
    outputs = ApplyRotaryPosEmb()(*(ms.Tensor(array) for array in (query, key, cos, sin, lengths)))
    for given, output in zip((query, key), outputs, strict=True):
        exact = expected.rotate(given.reshape(4, -1, DIM).astype(float), cos, sin)
        assert output.asnumpy().dtype == np.dtype(dtype)
        np.testing.assert_allclose(output.asnumpy().reshape(exact.shape), exact, **TOLERANCE[dtype])
