"""The real default model, in one process: transformers' greedy tokens, whatever the mix of chunks and decode rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.config import StackConfig, cache_dir
from serving.weights.served_folder import announce
from tests.support.rows import step_of
from tests.support.sequences import Sequence, rows

pytestmark = [pytest.mark.mindspore, pytest.mark.timeout(900)]  # it may fetch 93 MB and compile seven graphs
PROMPTS = json.loads((Path(__file__).parents[1] / "data/reference_tokens.json").read_text())["prompts"]
NUM_TOKENS = len(PROMPTS[0]["generated_ids"])
BLOCK_SIZE = 16
COUNT = len(PROMPTS)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, own_folder: None) -> Any:
    from serving.model.llama import load
    from serving.weights.prepare import prepare

    stack = StackConfig(run_dir=str(tmp_path_factory.mktemp("real")), cache_dir=str(cache_dir()))
    announce(stack, prepare(stack, lambda *_: None))
    served = load(stack, 0, lambda *_: None)
    served.warm()
    return served


def texts(seed: int) -> list[Sequence]:
    """Prompt and generation of each, in blocks that lie anywhere."""
    free = (1 + np.random.default_rng(seed).permutation(500)).tolist()
    each = 1 + (max(len(prompt["prompt_ids"]) for prompt in PROMPTS) + NUM_TOKENS) // BLOCK_SIZE
    return [
        Sequence(prompt["prompt_ids"] + prompt["generated_ids"], free[i * each : (i + 1) * each], BLOCK_SIZE)
        for i, prompt in enumerate(PROMPTS)
    ]


def wrong(tokens: Any, index: int, first: int) -> list[int]:
    """Positions at which the tokens that follow position `first` and on are not the reference's."""
    prompt, expected = len(PROMPTS[index]["prompt_ids"]), PROMPTS[index]["generated_ids"]
    positions = [position for position in range(first, first + len(tokens)) if prompt - 1 <= position < prompt + 23]
    return [p for p in positions if int(tokens[p - first]) != expected[p + 1 - prompt]]


@pytest.mark.parametrize("chunk", [64, 7, 3, 1])
def test_prompts_in_chunks_arriving_apart_then_decoded_together(real: Any, chunk: int) -> None:
    """Sequence i arrives at step 3 i; the others decode beside its chunks."""
    sequences = [Sequence(list(prompt["prompt_ids"]), text.blocks, BLOCK_SIZE)
                 for prompt, text in zip(PROMPTS, texts(chunk), strict=True)]  # fmt: skip
    done = [0] * COUNT
    goal = [len(prompt["prompt_ids"]) + NUM_TOKENS for prompt in PROMPTS]
    for number in range(1000):
        live = [i for i in range(COUNT) if number >= 3 * i and len(sequences[i].token_ids) < goal[i]]
        if not live and number >= 3 * COUNT:
            break
        stops = {i: min(done[i] + chunk, len(sequences[i].token_ids)) for i in live}
        if not live:
            continue
        token_ids, _ = real.step(step_of([(sequences[i], done[i], stops[i]) for i in live])).argmax()
        for i, token in zip(live, token_ids.tolist(), strict=True):
            done[i] = stops[i]
            if stops[i] == len(sequences[i].token_ids):
                sequences[i].token_ids.append(token)
    for sequence, prompt in zip(sequences, PROMPTS, strict=True):
        assert sequence.token_ids == prompt["prompt_ids"] + prompt["generated_ids"]


def test_whole_texts_in_one_step_and_behind_shared_prefixes(real: Any) -> None:
    sequences, others = texts(0), texts(1)
    step = step_of([(sequence, 0, len(sequence.token_ids)) for sequence in sequences], every_row=True)
    tokens, start = real.step(step).argmax()[0], 0
    for index, (sequence, other) in enumerate(zip(sequences, others, strict=True)):
        length = len(sequence.token_ids)
        assert wrong(tokens[start : start + length], index, 0) == []
        start += length
        other.blocks[0] = sequence.blocks[0]  # the first 16 tokens are read from the other sequence's block
        shared = real.step(step_of([(other, BLOCK_SIZE, length)], every_row=True)).argmax()[0]
        assert wrong(shared, index, BLOCK_SIZE) == []


def test_a_position_has_the_same_logits_alone_and_in_a_batch_of_16(real: Any) -> None:
    """Bit for bit, at 1,000 positions of random text: what batch invariance means."""
    rng = np.random.default_rng(7)
    count, length = 16, 63
    blocks = (1 + rng.permutation(511)).reshape(-1)[: count * 4].reshape(count, 4).tolist()
    sequences = [Sequence(rng.integers(10, 40000, length).tolist(), own, BLOCK_SIZE) for own in blocks]
    alone = []
    for sequence in sequences:
        step = step_of([(sequence, 0, length)], every_row=True)
        alone.append(rows(real.step(step), length))
    real.kv_cache.memory[...] = 0
    for position in range(length):
        together = rows(real.step(step_of([(sequence, position, position + 1) for sequence in sequences])), count)
        for index in range(count):
            assert np.array_equal(together[index], alone[index][position]), (index, position)
