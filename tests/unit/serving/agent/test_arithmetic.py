"""The arithmetic model obeys its rule, through the block tables and nothing else; its reference agrees with it."""

from __future__ import annotations

import json
import time

import numpy as np

from serving.agent.arithmetic import EOS_ID, VOCAB_SIZE, ArithmeticModel, logits_rows, next_tokens
from serving.config import ModelKind, StackConfig, WeightSource
from serving.link.layout import Shapes
from serving.link.step import StepBatch, StepKind
from serving.reference import arithmetic, tool

SHAPES = Shapes(max_seqs=4, max_tokens=64, max_blocks=4, block_size=4, num_blocks=10)


def batch(kind, *arrays) -> StepBatch:
    """Input ids, query lengths, context lengths, block tables, slot mapping."""
    return StepBatch(kind, *(np.array(values, np.int32) for values in arrays))


def test_rule_by_hand():
    sums = np.array([1 * 10 + 2 * 20, 300, 4099 * 3])
    assert next_tokens(sums).tolist() == [50, 300 - 256, EOS_ID]
    row = logits_rows(sums)[0]
    assert row.dtype == np.float32 and row.shape == (VOCAB_SIZE,)
    assert row[50] == np.float32(-0.001 * 50)
    assert row[53] == np.float32(-3 - 0.001 * 50)


def test_prefill_and_decode_read_history_through_the_block_tables():
    model = ArithmeticModel(SHAPES, 0.0)
    # two prompts packed: five tokens in blocks 7 and 3, two tokens in block 5
    prefill = batch(
        StepKind.prefill, [1, 2, 3, 4, 5, 9, 8], [5, 2], [5, 2], [[7, 3], [5, 0]], [28, 29, 30, 31, 12, 20, 21]
    )
    assert model.forward(prefill).argmax()[0].tolist() == [55, 25]
    decode = batch(StepKind.decode, [55, 25], [1, 1], [6, 3], [[7, 3], [5, 0]], [13, 22])
    logits = model.forward(decode)
    sums = [55 + 6 * 55, 25 + 3 * 25]
    assert logits.argmax()[0].tolist() == [sums[0] % 256, sums[1] % 256]
    assert np.array_equal(logits.rows(np.array([1], np.int32)), logits_rows(np.array(sums))[1:])
    assert logits.argmax()[1].tolist() == [row.max() for row in logits_rows(np.array(sums))]


def test_a_wrong_block_table_or_slot_changes_the_token():
    model = ArithmeticModel(SHAPES, 0.0)
    model.forward(batch(StepKind.prefill, [1, 2, 3, 4, 5], [5], [5], [[7, 3]], [28, 29, 30, 31, 12]))
    right = (55 + 6 * 55) % 256
    wrong_table = batch(StepKind.decode, [55], [1], [6], [[7, 4]], [13])
    assert model.forward(wrong_table).argmax()[0].tolist() != [right]
    wrong_slot = batch(StepKind.decode, [55], [1], [6], [[7, 3]], [14])
    model.forward(batch(StepKind.decode, [0], [1], [6], [[7, 3]], [13]))
    assert model.forward(wrong_slot).argmax()[0].tolist() != [right]


def test_it_takes_its_step_time():
    model = ArithmeticModel(SHAPES, 20.0)
    started = time.monotonic()
    model.forward(batch(StepKind.decode, [1], [1], [1], [[1]], [4]))
    assert time.monotonic() - started >= 0.02


def test_reference_command_gives_the_same_rows_without_paging(tmp_path, monkeypatch):
    captured, out = tmp_path / "captured", tmp_path / "out"
    captured.mkdir()
    about = {"prompt_id": "p-1", "prompt_ids": [1, 2, 3], "generated_ids": [14, 70, 9], "positions": [2, 4]}
    (captured / "p-1.json").write_text(json.dumps(about))
    monkeypatch.chdir(tmp_path)  # the command works in a folder of its own
    stack = StackConfig(run_dir=str(tmp_path), cache_dir=str(tmp_path))
    stack.model.kind, stack.model.source = ModelKind.arithmetic, WeightSource.none
    assert tool.write(stack, captured, out, arithmetic.open_reference) == 1
    sums = np.array([14, 14 + 4 * 14 + 5 * 70])
    assert np.array_equal(np.load(out / "p-1.npy"), logits_rows(sums))
    # its own choice after each token that decided one: 420 mod 256 where the served text has 9
    assert json.loads((out / "p-1.json").read_text()) == {**about, "chosen_ids": [14, 70, 164]}
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["num_prompts"] == 1
    assert {"weights_sha256", "tokenizer_sha256", "dtype", "device", "stack_digest", "versions"} <= manifest.keys()
