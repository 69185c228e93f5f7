"""The served path (paged, batched, padded) against the plain network, on a tiny random Llama."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from serving.config import StackConfig
from serving.link.step import rows_of
from serving.model.graph_shapes import ANY_ROWS, STATIC_ROWS, choose
from tests.support.sequences import generate, prefill_batch, random_sequences, rows

pytestmark = pytest.mark.mindspore
CLOSE = {"atol": 2e-5, "rtol": 0}


def start(stack: StackConfig, seed: int, lengths: list[int], room: int) -> list[Any]:
    cache = stack.serving.cache
    rng = np.random.default_rng(seed)
    return random_sequences(rng, lengths, room, cache.block_size, cache.num_blocks, stack.model.shape.vocab_size)


@pytest.mark.parametrize(
    ("lengths", "num_tokens", "static"),
    [
        ([5], 6, True),  # padded up to 8 rows
        ([3, 4, 5, 1], 8, True),  # lengths at, before and after a block's edge
        ([8, 8, 7], 4, True),
        ([20, 18], 8, False),  # 38 prompt tokens: more than any static graph's rows
        ([40], 10, False),
    ],
)
def test_batched_paged_logits_equal_the_plain_networks(
    model: Any, plain: Any, stack: StackConfig, lengths: list[int], num_tokens: int, static: bool
) -> None:
    sequences = start(stack, len(lengths), lengths, num_tokens)
    assert (choose(rows_of(prefill_batch(sequences)), STATIC_ROWS) != ANY_ROWS) is static
    steps = generate(model, sequences, num_tokens)
    for index, sequence in enumerate(sequences):
        positions = list(range(lengths[index] - 1, lengths[index] - 1 + num_tokens))
        expected = plain.rows(sequence.token_ids, positions)
        np.testing.assert_allclose(np.stack([step[index] for step in steps]), expected, **CLOSE)
        # Greedy tokens are the argmax of those rows.
        assert sequence.token_ids[lengths[index] :] == expected.argmax(-1).tolist()


def test_what_lies_in_blocks_of_others_and_in_padding_does_not_matter(model: Any, stack: StackConfig) -> None:
    def alone_and_together(others: list[int]) -> Any:
        return generate(model, start(stack, 3, [6, *others], 5), 5)

    alone = alone_and_together([])
    together = alone_and_together([9, 2, 7])
    for one, many in zip(alone, together, strict=True):
        np.testing.assert_allclose(one[0], many[0], **CLOSE)


def test_argmax_takes_the_lowest_id_of_a_tie_and_its_raw_logit(model: Any, stack: StackConfig) -> None:
    import mindspore as ms
    from mindspore import ops

    index, value = ops.ArgMaxWithValue(axis=-1)(ms.Tensor([[1.0, 3.0, 3.0, 2.0], [0.0, 0.0, 0.0, 0.0]]))
    assert index.asnumpy().tolist() == [1, 0]
    assert value.asnumpy().tolist() == [3.0, 0.0]
    logits = model.forward(prefill_batch(start(stack, 1, [4, 5], 0)))
    token_ids, token_logits = logits.argmax()
    full = rows(logits, 2)
    assert token_ids.tolist() == full.argmax(-1).tolist()
    assert token_logits.tolist() == full.max(-1).tolist()


def test_every_graph_is_compiled_before_the_model_is_ready(model: Any) -> None:
    assert list(model._graphs) == [ANY_ROWS, *STATIC_ROWS]
    assert all(graph.phase in graph.phase_cache for graph in model._graphs.values())
