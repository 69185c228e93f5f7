"""The bare loop that the engine is measured by feeds a model what the engine would: its tokens are the model's."""

from __future__ import annotations

import pytest

from serving.agent.arithmetic import EOS_ID, ArithmeticModel
from serving.link.layout import Shapes

pytestmark = pytest.mark.mindspore  # importing it imports MindSpore


def by_hand(prompt: list[int], count: int) -> list[int]:
    ids = list(prompt)
    for _ in range(count):
        total = sum((index + 1) * token for index, token in enumerate(ids))
        ids.append(EOS_ID if total % 4099 == 0 else total % 256)
    return ids[len(prompt) :]


@pytest.mark.parametrize("lengths", [[5], [1, 7, 4, 16, 33]])
def test_tokens_are_those_computed_by_hand(lengths: list[int]) -> None:
    from serving.model.bare_loop import generate

    model = ArithmeticModel(Shapes(max_seqs=8, max_tokens=99, max_blocks=20, block_size=4, num_blocks=200), 0.0)
    prompts = [[(7 * index + length) % 256 for index in range(length)] for length in lengths]
    assert generate(model, prompts, 30, block_size=4) == [by_hand(prompt, 30) for prompt in prompts]
