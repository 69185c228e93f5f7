"""One kind of step on a tiny random Llama: whatever the mix of chunks and decode rows, logits are the plain network's.

And equal bit for bit among themselves: each row's arithmetic is its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.config import StackConfig
from serving.link.step import Float32
from serving.model.graph_shapes import STATIC_ROWS
from tests.support.rows import step_of
from tests.support.sequences import Sequence, random_sequences, rows

pytestmark = pytest.mark.mindspore
CLOSE = {"atol": 2e-5, "rtol": 0}
LENGTH = 60


def start(stack: StackConfig, seed: int, lengths: list[int]) -> list[Sequence]:
    cache = stack.serving.cache
    rng = np.random.default_rng(seed)
    return random_sequences(rng, lengths, 0, cache.block_size, cache.num_blocks, stack.model.shape.vocab_size)


def run(model: Any, *chunks: tuple[Sequence, int, int]) -> Float32:
    """Logits of every row of one step."""
    step = step_of(list(chunks), every_row=True)
    return rows(model.step(step), len(step.logits_rows))


def in_chunks(model: Any, sequence: Sequence, size: int, *beside: tuple[Sequence, int, int]) -> Float32:
    """Logits of all the sequence's positions, fed `size` at a time, with one other chunk before it in each step."""
    found = []
    for index, begin in enumerate(range(0, len(sequence.token_ids), size)):
        other = [beside[index % len(beside)]] if beside else []
        chunk = (sequence, begin, min(begin + size, len(sequence.token_ids)))
        found.append(run(model, *other, chunk)[-(chunk[2] - begin) :])
    return np.concatenate(found)


@pytest.fixture(scope="module")
def sequence(stack: StackConfig) -> Sequence:
    return start(stack, 5, [LENGTH])[0]


@pytest.fixture(scope="module")
def whole(model: Any, sequence: Sequence) -> Float32:
    return run(model, (sequence, 0, LENGTH))


def test_a_whole_prompt_is_the_plain_networks(plain: Any, sequence: Sequence, whole: Float32) -> None:
    expected = plain.rows(sequence.token_ids, list(range(LENGTH)))
    np.testing.assert_allclose(whole, expected, **CLOSE)
    assert whole.argmax(-1).tolist() == expected.argmax(-1).tolist()


@pytest.mark.parametrize("size", [1, 7, 32, 59])
def test_chunks_are_equal_to_the_whole_bit_for_bit(
    model: Any, stack: StackConfig, sequence: Sequence, whole: Float32, size: int
) -> None:
    *others, again = start(stack, size, [9, 12, 4, LENGTH])
    again.token_ids = sequence.token_ids
    for other in others:
        run(model, (other, 0, len(other.token_ids)))
    assert np.array_equal(in_chunks(model, again, size), whole)
    newest = [(other, len(other.token_ids) - 1, len(other.token_ids)) for other in others]
    assert np.array_equal(in_chunks(model, again, size, *newest), whole)  # beside others' decode rows


def test_a_prefix_is_read_from_another_sequences_blocks(
    model: Any, stack: StackConfig, sequence: Sequence, whole: Float32
) -> None:
    first, second = start(stack, 3, [LENGTH, LENGTH])
    first.token_ids, second.token_ids = sequence.token_ids, sequence.token_ids
    run(model, (first, 0, LENGTH))
    shared = 10
    second.blocks[:shared] = first.blocks[:shared]
    begin = shared * stack.serving.cache.block_size
    assert np.array_equal(run(model, (second, begin, LENGTH)), whole[begin:])


def test_two_chunks_of_one_step_may_share_a_prefix_that_the_step_itself_writes(
    model: Any, stack: StackConfig, sequence: Sequence, whole: Float32
) -> None:
    first, second = start(stack, 4, [LENGTH, LENGTH])
    first.token_ids, second.token_ids = sequence.token_ids, sequence.token_ids
    second.blocks[:10] = first.blocks[:10]
    begin = 10 * stack.serving.cache.block_size
    both = run(model, (first, 0, begin), (second, begin, LENGTH))
    assert np.array_equal(both, whole)


def test_the_cache_can_be_taken_out_and_put_elsewhere(
    model: Any, stack: StackConfig, sequence: Sequence, whole: Float32
) -> None:
    """What swapping out and in does: the same K and V in other blocks."""
    here, there = start(stack, 8, [LENGTH - 20, LENGTH])
    here.token_ids, there.token_ids = sequence.token_ids, sequence.token_ids
    run(model, (here, 0, LENGTH - 20))
    memory = model.kv_cache.memory
    saved = memory[:, :, here.blocks].copy()
    memory[:, :, here.blocks] = np.nan
    memory[:, :, there.blocks[: len(here.blocks)]] = saved
    assert np.array_equal(run(model, (there, LENGTH - 20, LENGTH)), whole[-20:])
    memory[:, :, here.blocks] = 0


def test_static_and_dynamic_graphs_agree_bit_for_bit(model: Any, stack: StackConfig) -> None:
    sequences = start(stack, 6, [5, 9, 3])
    chunks = [(sequence, 0, len(sequence.token_ids)) for sequence in sequences]
    static = run(model, *chunks)
    keep = model._static
    model.use_dynamic_graph_only()
    try:
        assert np.array_equal(run(model, *chunks), static)
    finally:
        model._static = keep


def test_only_wanted_rows_have_logits_and_none_may_be_wanted(model: Any, sequence: Sequence, whole: Float32) -> None:
    step = step_of([(sequence, 0, 20)], every_row=True)
    step.logits_rows = step.logits_rows[[19, 3]]
    logits = model.step(step)
    assert np.array_equal(rows(logits, 2), whole[[19, 3]])
    assert logits.argmax()[0].tolist() == whole[[19, 3]].argmax(-1).tolist()
    step.logits_rows = step.logits_rows[:0]
    assert len(model.step(step).argmax()[0]) == 0


def test_other_sizes_of_batch_block_and_cache_use_the_same_graphs(
    model: Any, stack: StackConfig, sequence: Sequence, whole: Float32
) -> None:
    from serving.model.kernels.build import library
    from serving.model.kernels.kv_cache import KvCache

    compiled = {num_rows: list(graph.phase_cache) for num_rows, graph in model._graphs.items()}
    assert list(compiled) == [0, *STATIC_ROWS]
    shape, keep = stack.model.shape, model.kv_cache
    head_dim = shape.hidden_size // shape.num_heads
    other = KvCache(library(Path(stack.cache_dir), print), shape.num_layers, 6, 32, shape.num_kv_heads, head_dim)
    model.kv_cache = other
    try:
        moved = Sequence(sequence.token_ids, [4, 1], block_size=32)
        assert np.array_equal(run(model, (moved, 0, LENGTH)), whole)
        assert np.array_equal(run(model, (moved, LENGTH - 8, LENGTH)), whole[-8:])
    finally:
        model.kv_cache = keep
    assert {num_rows: list(graph.phase_cache) for num_rows, graph in model._graphs.items()} == compiled


def test_without_kernels_the_stand_ins_give_the_same_tokens(
    stack: StackConfig, sequence: Sequence, whole: Float32, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    from serving.model import llama
    from serving.model.kernels import build

    def none(*_: Any) -> Any:
        raise build.NoKernels("no C++ compiler (g++)")

    monkeypatch.setattr(build, "library", none)
    served = llama.load(stack, 0, lambda message, done, total: None)
    served._most_rows = 16  # so that this prompt is cut as long ones are
    served.warm()
    assert capfd.readouterr().out.count(f"kernels: no C++ compiler (g++); without them {build.COST}") == 1
    np.testing.assert_allclose(run(served, (sequence, 0, LENGTH)), whole, **CLOSE)
    beside = start(stack, 5, [LENGTH, 3])[1]
    np.testing.assert_allclose(in_chunks(served, sequence, 7, (beside, 0, 3)), whole, **CLOSE)
