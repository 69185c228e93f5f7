"""Which stored rows a run can be held to, and what is said of those it cannot."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.accuracy import reference, task
from harness.accuracy.capture import read_folder
from harness.accuracy.legacy import export_legacy
from harness.config import AccuracyConfig, ArrivalProcess, ReferenceKind
from harness.load.prompts import Prompt
from harness.server import ExternalServer
from tests.support.captures import random_rows, write_capture

SERVER = ExternalServer("http://127.0.0.1:1", "m", vocab_size=100)


@pytest.fixture
def folders(tmp_path):
    """A baseline of three prompts and what a run captured of the first two, each with a manifest."""
    base, captured = tmp_path / "base", tmp_path / "captured"
    for number in range(3):
        for folder in (base, captured)[: 2 if number < 2 else 1]:
            write_capture(folder, f"prompt-{number}", random_rows(2, 50, number), positions=[2, 100],
                          generated_ids=list(range(98)))  # fmt: skip
    for folder in (base, captured):
        (folder / "manifest.json").write_text(json.dumps({"weights_sha256": "abc", "tokenizer_sha256": "def"}))
    return base, captured


def config(folder: Path, kind: ReferenceKind = ReferenceKind.baseline, num_prompts: int = 2) -> AccuracyConfig:
    return AccuracyConfig(reference=kind, baseline_path=str(folder), num_prompts=num_prompts)


def test_only_the_prompts_asked_for_are_compared(folders, tmp_path):
    base = reference.obtain(config(folders[0]), SERVER, folders[1], tmp_path, lambda *_: None)
    assert list(base.captures) == ["prompt-0", "prompt-1"] and base.problems == []
    accuracy = config(folders[0])
    result = task.compare(accuracy, 2, base, folders[1], "float32")
    assert result.metrics is not None and result.metrics.allclose_rows_passed == 4
    assert task.compare(accuracy, 1, base, folders[1], "float32").problems == [
        "only 1 of 2 prompts of the logits task finished"
    ]


@pytest.mark.parametrize("key", ["weights", "tokenizer"])
def test_a_baseline_of_another_model_is_a_problem(folders, tmp_path, key):
    about = json.loads((folders[0] / "manifest.json").read_text())
    (folders[0] / "manifest.json").write_text(json.dumps({**about, f"{key}_sha256": "f00d"}))
    (problem,) = reference.obtain(config(folders[0]), SERVER, folders[1], tmp_path, lambda *_: None).problems
    assert f"the {key} differ: the base has f00d" in problem


def test_a_contest_folder_is_compared_at_its_own_positions(folders, tmp_path):
    export_legacy(folders[1], tmp_path / "file_npy")
    accuracy = config(tmp_path / "file_npy", ReferenceKind.legacy)
    base = reference.obtain(accuracy, SERVER, folders[1], tmp_path, lambda *_: None)
    result = task.compare(accuracy, 2, base, folders[1], "float32")
    assert result.metrics is not None
    assert (result.metrics.allclose_rows_total, result.metrics.allclose_rows_passed) == (2, 2)


def test_what_cannot_be_a_reference_is_one_line(folders, tmp_path):
    legacy = ReferenceKind.legacy
    for accuracy, says in (
        (config(Path()), "accuracy.baseline_path=.: "),
        (AccuracyConfig(reference=legacy), "accuracy.baseline_path='': must name a folder"),
        (config(tmp_path / "none"), "does not exist"),
        (config(folders[0], num_prompts=4), "accuracy.num_prompts=4: the baseline holds 3"),
        (config(folders[0], legacy), "is not called <time>_<seq>_<idx>.npy"),
    ):
        (line,) = reference.problems(accuracy)
        assert says in line and "\n" not in line
    assert reference.problems(AccuracyConfig()) == []
    assert reference.problems(config(folders[0])) == []


def test_a_stored_prompt_is_forced_and_asked_for_the_same_rows(folders):
    stored = {"prompt-0": read_folder(folders[0])["prompt-0"]}
    forced, free = some = [Prompt("0", 64, text="a"), Prompt("1", 64, text="b")]
    task.ask_for_rows(some, config(folders[0]), stored)
    assert forced.extra["plumbline"] == {
        "prompt_id": "prompt-0", "positions": [2, 100], "forced_ids": list(range(98))
    }  # fmt: skip
    assert forced.max_new_tokens == 98
    assert free.extra["plumbline"] == {"prompt_id": "prompt-1", "every": 8, "positions": []}


def test_prompts_go_out_together_or_at_the_contests_pace():
    full = task.schedule(AccuracyConfig(), 16, default_concurrency=8)
    assert (full.process, full.count, full.concurrency) == (ArrivalProcess.closed, 16, 8)
    for rate, count in ((0.1, 500), (0.3, 16), (3.0, 7)):
        paced = task.schedule(AccuracyConfig(rate=rate), count, default_concurrency=8)
        assert (paced.process, paced.count) == (ArrivalProcess.judge, count)
    assert task.schedule(AccuracyConfig(rate=0.1), 500, 8).floor_s == pytest.approx(5000, rel=0.01)
