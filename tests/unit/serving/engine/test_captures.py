"""Captured rows: whole files that NumPy reads, named only when done, nothing left of what was given up."""

from __future__ import annotations

import json
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest

from serving.engine.captures import CaptureStore, is_prompt_id


def save(store: CaptureStore, capture, generated_ids: list[int]) -> None:
    done: Future[None] = Future()
    store.save(
        capture,
        generated_ids,
        lambda future: (
            done.set_result(future.result()) if not future.exception() else done.set_exception(future.exception())
        ),
    )
    done.result(5)


def test_rows_and_their_story_are_saved(tmp_path):
    store = CaptureStore(tmp_path / "captures")
    capture = store.begin("a-1", [5, 6])
    rows = np.random.default_rng(0).normal(size=(3, 1000)).astype(np.float32)
    for position, batch_size, row in zip((1, 2, 4), (8, 7, 7), rows, strict=True):
        store.add(capture, position, batch_size, row)
    capture.chosen_ids += [7, 8, 4]
    assert store.is_open("a-1") and store.num_open == 1
    save(store, capture, [7, 8, 9])
    store.closed(capture, saved=True)
    assert sorted(path.name for path in (tmp_path / "captures").iterdir()) == ["a-1.json", "a-1.npy"]
    loaded = np.load(tmp_path / "captures" / "a-1.npy")
    assert loaded.dtype == np.float32 and np.array_equal(loaded, rows)
    assert json.loads((tmp_path / "captures" / "a-1.json").read_text()) == {
        "prompt_id": "a-1",
        "prompt_ids": [5, 6],
        "generated_ids": [7, 8, 9],
        "chosen_ids": [7, 8, 4],
        "positions": [1, 2, 4],
        "batch_sizes": [8, 7, 7],
    }
    assert (store.num_open, store.num_rows, store.num_saved) == (0, 3, 1)
    store.stop()


def test_what_is_given_up_leaves_no_file(tmp_path):
    store = CaptureStore(tmp_path)
    capture = store.begin("gone", [1])
    store.add(capture, 0, 1, np.zeros(4, np.float32))
    store.closed(capture, saved=False)
    store.stop()
    assert list(tmp_path.iterdir()) == []


def test_a_write_error_comes_out_on_saving(tmp_path):
    store = CaptureStore(tmp_path / "captures")
    capture = store.begin("x", [1])
    Path(tmp_path / "captures").rmdir()
    store.add(capture, 0, 1, np.zeros(4, np.float32))
    with pytest.raises(FileNotFoundError):
        save(store, capture, [2])
    store.closed(capture, saved=False)
    store.stop()


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("p-1.x_Y", True),
        ("", False),
        (".hidden", False),
        ("a/b", False),
        ("x" * 128, True),
        ("x" * 129, False),
        ("ü", False),
        ("a\n", False),
    ],
)
def test_prompt_ids_can_name_files(text, good):
    assert is_prompt_id(text) is good
