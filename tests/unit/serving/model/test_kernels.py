"""The kernels against NumPy, as built for this processor and as built for one without AVX2."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from serving.link.step import Float32, Int32
from serving.model.kernels import build
from serving.model.kernels.kv_cache import KvCache, set_threads
from tests.support import operators as expected
from tests.support.kernels import call

LAYERS, BLOCKS, BLOCK_SIZE, DIM = 2, 20, 4, 32
CLOSE = {"atol": 2e-5, "rtol": 2e-5}


@pytest.fixture(scope="module", params=["this processor", "plain"])
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    cpu_info = None if request.param == "this processor" else "flags : sse2"
    return build.library(tmp_path_factory.mktemp("cache"), print, cpu_info=cpu_info)


@pytest.fixture(params=[1, 2, 5], ids=lambda count: f"{count} threads", autouse=True)
def threads(request: pytest.FixtureRequest, library: Path) -> Iterator[None]:
    set_threads(library, request.param)
    yield
    set_threads(library, 1)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def normal(rng: np.random.Generator, *shape: int) -> Float32:
    return rng.standard_normal(shape, dtype=np.float32)


# Rows around the tile of 6 and the block of 192; columns around the panel of 16; k around stretches and eights.
@pytest.mark.parametrize("rows", [1, 2, 5, 6, 7, 33, 191, 200])
@pytest.mark.parametrize(("columns", "k"), [(16, 8), (48, 576), (37, 300), (5, 3), (130, 1536)])
def test_linear(library: Path, rng: np.random.Generator, rows: int, columns: int, k: int) -> None:
    x, weight = normal(rng, rows, 1, k), normal(rng, columns, k)
    output = call(library, "RowLinear", [x, weight], (rows, 1, columns))
    exact = x[:, 0].astype(float) @ weight.T.astype(float)
    np.testing.assert_allclose(output[:, 0], exact, rtol=2e-5, atol=2e-6 * k)


@pytest.mark.parametrize(("columns", "k"), [(48, 576), (37, 300), (130, 1536)])
def test_a_row_of_linear_does_not_depend_on_the_others_by_one_bit(
    library: Path, rng: np.random.Generator, columns: int, k: int
) -> None:
    x, weight = normal(rng, 205, k), normal(rng, columns, k)
    together = call(library, "RowLinear", [x, weight], (205, columns))
    for start, stop in [(0, 1), (1, 3), (3, 8), (8, 14), (14, 78), (78, 205)]:
        part = call(library, "RowLinear", [x[start:stop], weight], (stop - start, columns))
        assert np.array_equal(part, together[start:stop])


def test_the_head_takes_the_wanted_rows_alone(library: Path, rng: np.random.Generator) -> None:
    x, weight = normal(rng, 9, 1, 64), normal(rng, 50, 64)
    everything = call(library, "RowLinear", [x, weight], (9, 1, 50))
    rows = np.array([8, 0, 3, -1, -1], np.int32)
    output = call(library, "RowHead", [x, rows, weight], (5, 1, 50))
    assert np.array_equal(output[:3], everything[[8, 0, 3]])
    assert not output[3:].any()
    with pytest.raises(RuntimeError, match="RowHead returned"):
        call(library, "RowHead", [x, np.array([9], np.int32), weight], (1, 1, 50))


@pytest.mark.parametrize(("rows", "width"), [(1, 8), (3, 576), (70, 43)])
def test_rms_norm(library: Path, rng: np.random.Generator, rows: int, width: int) -> None:
    x, weight, epsilon = normal(rng, rows, 1, width), normal(rng, width), np.array([1e-5], np.float32)
    output = call(library, "RowRmsNorm", [x, weight, epsilon], x.shape)
    wide = x.astype(float)
    exact = wide / np.sqrt((wide**2).mean(-1, keepdims=True) + 1e-5) * weight
    np.testing.assert_allclose(output, exact, **CLOSE)


@pytest.mark.parametrize("count", [1, 7, 8, 1000, 3 * 16384 + 5])
def test_silu_times_gate(library: Path, rng: np.random.Generator, count: int) -> None:
    up, gate = normal(rng, count), 30 * normal(rng, count)
    gate[:1] = 500  # beyond what exp can hold
    output = call(library, "RowSwiGlu", [up, gate], (count,))
    np.testing.assert_allclose(output, up * gate.astype(float) / (1 + np.exp(-gate.astype(float))), **CLOSE)


class Sequences:
    """A cache full of what others left, and rows of sequences in it."""

    def __init__(self, library: Path, heads: int, kv_heads: int) -> None:
        self.library, self.heads, self.kv_heads = library, heads, kv_heads
        self.cache = KvCache(library, LAYERS, BLOCKS, BLOCK_SIZE, kv_heads, DIM)
        rng = np.random.default_rng(0)
        self.cache.memory[...] = normal(rng, *self.cache.memory.shape)
        angles = np.outer(np.arange(64), 10000.0 ** (-np.arange(0, DIM, 2) / DIM))
        self.cos, self.sin = (np.tile(table, 2).astype(np.float32) for table in (np.cos(angles), np.sin(angles)))

    def attend(
        self, query: Float32, key: Float32, value: Float32, tables: Int32, sequences: Int32, lengths: Int32, layer: int
    ) -> Float32:
        """Rows of `sequences` [T], whose tables are rows of `tables`, at positions lengths - 1."""
        positions = lengths - 1
        slots = tables[sequences, positions // BLOCK_SIZE] * BLOCK_SIZE + positions % BLOCK_SIZE
        flat = np.concatenate([[self.cache.number, 0], tables.reshape(-1)]).astype(np.int32)
        starts = (2 + sequences * tables.shape[1]).astype(np.int32)
        inputs = [query, key, value, self.cos[positions], self.sin[positions], flat, lengths, slots.astype(np.int32)]
        inputs += [starts, np.array([layer], np.int32)]
        return call(self.library, "RowAttention", inputs, query.shape)


# Two sequences of shuffled blocks: a chunk of 9 at positions 2 to 10, and one row at position 7.
TABLES = np.array([[7, 3, 19], [1, 12, 0]], np.int32)
SEQUENCES = np.array([0] * 9 + [1], np.int32)
LENGTHS = np.array([*range(3, 12), 8], np.int32)


@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (9, 3), (8, 1)])
def test_attention_writes_the_cache_and_reads_it(
    library: Path, rng: np.random.Generator, heads: int, kv_heads: int
) -> None:
    setting = Sequences(library, heads, kv_heads)
    before = setting.cache.memory.copy()
    count = len(SEQUENCES)
    query = normal(rng, count, 1, heads * DIM)
    key, value = normal(rng, count, 1, kv_heads * DIM), normal(rng, count, 1, kv_heads * DIM)
    output = setting.attend(query, key, value, TABLES, SEQUENCES, LENGTHS, 1)

    cos, sin = setting.cos[LENGTHS - 1], setting.sin[LENGTHS - 1]
    slots = TABLES[SEQUENCES, (LENGTHS - 1) // BLOCK_SIZE] * BLOCK_SIZE + (LENGTHS - 1) % BLOCK_SIZE
    keys = expected.rotate(key.reshape(count, kv_heads, DIM), cos, sin)
    wanted = before.copy()
    wanted[1, 0] = expected.reshape_and_cache(keys, before[1, 0], slots)
    wanted[1, 1] = expected.reshape_and_cache(value, before[1, 1], slots)
    np.testing.assert_allclose(setting.cache.memory, wanted, **CLOSE)
    untouched = np.ones(before.shape, bool)
    untouched.reshape(LAYERS, 2, BLOCKS * BLOCK_SIZE, -1)[1, :, slots] = False
    assert np.array_equal(setting.cache.memory[untouched], before[untouched])

    rotated = expected.rotate(query.reshape(count, heads, DIM), cos, sin).reshape(count, -1)
    exact = expected.paged_attention(rotated, wanted[1, 0], wanted[1, 1], TABLES[SEQUENCES], LENGTHS, heads)
    np.testing.assert_allclose(output[:, 0], exact, **CLOSE)


@pytest.mark.parametrize("chunks", [[1] * 40, [7] * 5 + [5], [33, 7]])
def test_attention_is_equal_bit_for_bit_whatever_the_chunks(
    library: Path, rng: np.random.Generator, chunks: list[int]
) -> None:
    setting = Sequences(library, 9, 3)
    table = (1 + np.random.default_rng(1).permutation(BLOCKS - 1)[None, :10]).astype(np.int32)
    query, key, value = normal(rng, 40, 1, 9 * DIM), normal(rng, 40, 1, 3 * DIM), normal(rng, 40, 1, 3 * DIM)
    lengths = np.arange(1, 41, dtype=np.int32)
    whole = setting.attend(query, key, value, table, np.zeros(40, np.int32), lengths, 0)
    setting.cache.memory[...] = 5
    outputs, start = [], 0
    for size in chunks:
        part = slice(start, start + size)
        zeros = np.zeros(size, np.int32)
        outputs.append(setting.attend(query[part], key[part], value[part], table, zeros, lengths[part], 0))
        start += size
    assert np.array_equal(np.concatenate(outputs), whole)


@pytest.mark.parametrize("wrong", ["closed", "layer", "block", "slot", "length", "table"])
def test_what_lies_outside_the_cache_is_refused(library: Path, rng: np.random.Generator, wrong: str) -> None:
    setting = Sequences(library, 4, 2)
    before = setting.cache.memory.copy()
    tables, lengths, layer = np.array([[3, 4]], np.int32), np.array([5], np.int32), 0
    if wrong == "closed":
        setting.cache.close()
    elif wrong == "layer":
        layer = LAYERS
    elif wrong == "block":
        tables[0, 0] = BLOCKS
    elif wrong == "slot":
        tables[0, 1] = -1
    elif wrong == "length":
        lengths[0] = 0
    elif wrong == "table":
        tables = tables[:, :1]
    arrays = [normal(rng, 1, 1, 4 * DIM), normal(rng, 1, 1, 2 * DIM), normal(rng, 1, 1, 2 * DIM)]
    flat = np.concatenate([[setting.cache.number, 0], tables.reshape(-1)]).astype(np.int32)
    slots = tables[:, -1] * BLOCK_SIZE
    arrays += [setting.cos[:1], setting.sin[:1], flat, lengths, slots, np.array([2], np.int32)]
    arrays += [np.array([layer], np.int32)]
    with pytest.raises(RuntimeError, match="RowAttention returned"):
        call(library, "RowAttention", arrays, (1, 1, 4 * DIM))
    assert np.array_equal(setting.cache.memory, before)


def test_a_cache_is_closed_when_nobody_holds_it(library: Path) -> None:
    numbers = set()
    for _ in range(600):  # more than can be open at once
        numbers.add(KvCache(library, 1, 1, 1, 1, 16).number)
    assert len(numbers) < 256
