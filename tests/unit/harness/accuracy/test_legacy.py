"""The contest's folders: there and back, shared keys by order, pickles only as arrays, foreign files named."""

from __future__ import annotations

import csv
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from harness.accuracy import UnusableInput, compare_folders
from harness.accuracy.__main__ import main as compare_main
from harness.accuracy.capture import read_folder
from harness.accuracy.legacy import export_legacy, import_legacy, in_order, key_of, main
from harness.accuracy.legacy_row import load_row
from harness.accuracy.manifest import read_manifest
from tests.support.captures import random_rows, write_capture

VOCAB = 60
LENGTHS = Path(__file__).parents[5] / "shared" / "reference" / "alpaca_521_lengths.csv"


def write_prompt(folder: Path, prompt_id: str, first_token: int, num_prompt: int, positions: list[int], seed: int):
    ids = [first_token, *range(300, 299 + num_prompt)]
    num_generated = max(1, positions[-1] + 1 - num_prompt)
    write_capture(
        folder, prompt_id, random_rows(len(positions), VOCAB, seed), prompt_ids=ids,
        generated_ids=list(range(num_generated)), positions=positions,
    )  # fmt: skip


@pytest.fixture
def captures(tmp_path):
    """Two prompts that begin alike, out of order as text; one that ends at position 100; one without such a row."""
    folder = tmp_path / "captures"
    write_prompt(folder, "prompt-10", 1, 7, [6, 100, 104, 200], seed=1)
    write_prompt(folder, "prompt-9", 1, 7, [6, 100], seed=2)
    write_prompt(folder, "prompt-11", 2, 101, [100, 200], seed=3)
    write_prompt(folder, "prompt-12", 3, 5, [4, 8], seed=4)
    return folder


def test_keys_are_the_contests(tmp_path):
    ids = [1, 20355, 915, 278, 4094]
    write_capture(tmp_path, "a", random_rows(2, 9), prompt_ids=ids, positions=[4, 5], generated_ids=[5, 6])
    capture = read_folder(tmp_path)["a"]
    assert key_of(capture, 5) == ("1.020355.0915.0278.0", 5)  # a decode row: the ids were floats there
    assert key_of(capture, 4) == ("1203559152784094", 4)  # a prefill row


def test_export_has_the_contests_names_order_shapes_and_rows(captures, tmp_path):
    out = tmp_path / "file_npy"
    assert export_legacy(captures, out) == 5
    names = sorted(path.name for path in out.iterdir())
    fields = [name.removesuffix(".npy").split("_") for name in names]
    assert all(len(each) == 3 for each in fields)
    assert [int(each[2]) for each in fields] == [100, 100, 200, 100, 200]  # prompt-9, prompt-10 twice, prompt-11 twice
    arrays = [np.load(out / name) for name in names]
    assert [array.shape for array in arrays] == [(1, 1, VOCAB)] * 3 + [(1, VOCAB), (1, 1, VOCAB)]
    assert all(array.dtype == np.float32 for array in arrays)
    assert np.array_equal(arrays[0].ravel(), np.load(captures / "prompt-9.npy")[1])
    assert np.array_equal(arrays[1].ravel(), np.load(captures / "prompt-10.npy")[1])


def organisers_check(new: Path, base: Path) -> bool:
    """As the contest's script judges: equal counts, grouped by the two last fields, by name, allclose at 5e-3."""
    grouped: list[dict[str, list[Path]]] = [{}, {}]
    for groups, folder in zip(grouped, (new, base), strict=True):
        for path in sorted(folder.iterdir()):
            _, seq, idx = path.name.split("_")
            groups.setdefault(f"{seq}_{idx}", []).append(path)
    if len(list(new.iterdir())) != len(list(base.iterdir())) or grouped[0].keys() != grouped[1].keys():
        return False
    pairs = [pair for key in grouped[0] for pair in zip(grouped[0][key], grouped[1][key], strict=True)]
    return all(np.allclose(np.load(one), np.load(other), atol=5e-3) for one, other in pairs)


def test_the_organisers_script_can_judge_an_export(captures, tmp_path):
    export_legacy(captures, tmp_path / "base")
    export_legacy(captures, tmp_path / "same")
    assert organisers_check(tmp_path / "same", tmp_path / "base")
    rows = np.load(captures / "prompt-10.npy")
    rows[1, 3] += 0.02
    np.save(captures / "prompt-10.npy", rows)
    export_legacy(captures, tmp_path / "other")
    assert not organisers_check(tmp_path / "other", tmp_path / "base")


def test_there_and_back_is_the_same_to_the_bit(captures, tmp_path, capsys):
    export_legacy(captures, tmp_path / "file_npy")
    done = import_legacy(tmp_path / "file_npy", captures, tmp_path / "base")
    assert (done.num_rows, done.num_unmatched, done.num_ambiguous) == (5, 0, 2)
    assert read_manifest(tmp_path / "base")["num_ambiguous"] == 2
    assert compare_main([str(tmp_path / "base"), str(captures), "--every", "100", "--bit-exact"]) == 0
    assert "5 of 5 rows equal bit for bit" in capsys.readouterr().out
    metrics = compare_folders(tmp_path / "base", captures).metrics
    assert metrics.allclose_rows_extra == 5  # our rows at other positions
    assert metrics.text_match_rate is None  # nobody knows what the contest wrote


def test_prompts_that_begin_alike_are_told_apart_by_order_and_a_stranger_counts_as_missing(captures, tmp_path):
    legacy = tmp_path / "file_npy"
    export_legacy(captures, legacy)
    first, second = sorted(legacy.glob("*_100.npy"))[:2]
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)
    np.save(legacy / "1800000000.0_9.09.0_100.npy", np.zeros((1, 1, VOCAB), np.float32))
    done = import_legacy(legacy, captures, tmp_path / "base")
    assert (done.num_unmatched, done.num_ambiguous) == (1, 2)
    assert main(["compare", str(legacy), str(captures)]) == 1
    metrics = compare_folders(tmp_path / "base", captures).metrics
    assert (metrics.allclose_rows_failed, metrics.allclose_rows_missing) == (2, 1)
    assert {metrics.first_failed_prompt_id, metrics.worst_prompt_id} <= {"prompt-9", "prompt-10"}


def test_the_contests_own_lengths_give_its_number_of_files():
    """214 rows for the 500 prompts of the accuracy task: positions divisible by 100 among those that decide a token."""
    if not LENGTHS.exists():
        pytest.skip("the contest's lengths are not on this machine")
    with LENGTHS.open() as file:
        rows = list(csv.DictReader(file))[:500]
    spans = [(int(row["prompt_tokens"]), int(row["output_tokens"])) for row in rows]
    count = sum(sum(position % 100 == 0 for position in range(p - 1, p - 1 + o)) for p, o in spans)
    assert count == 214


def save_pickled(path: Path, value: object) -> None:
    path.write_bytes(pickle.dumps(value))


def object_array(row: np.ndarray) -> np.ndarray:
    made = np.empty((1, 1), object)
    made[0, 0] = row
    return made


@pytest.mark.parametrize(
    "write",
    [
        lambda path, row: np.save(path, object_array(row), allow_pickle=True),  # as old baselines hold them
        lambda path, row: np.save(path, row.astype(object).reshape(1, 1, -1), allow_pickle=True),
        lambda path, row: save_pickled(path, row.reshape(1, -1)),
        lambda path, row: save_pickled(path, row.astype(np.float16)),
        lambda path, row: path.write_bytes(pickle.dumps(row, protocol=2)),
    ],
)
def test_pickled_arrays_are_read_only_when_allowed(tmp_path, write):
    row, path = random_rows(1, VOCAB)[0], tmp_path / "1.0_2_100.npy"
    write(path, row)
    with pytest.raises(UnusableInput, match="allow pickles"):
        load_row(path, allow_pickle=False)
    np.testing.assert_allclose(load_row(path, allow_pickle=True), row, rtol=1e-3)


class Bomb:
    """Makes a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


class Shell:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("make", [Bomb, Shell, lambda path: {"x": Bomb(path)}, lambda path: object_array(Shell(path))])
@pytest.mark.parametrize("as_npy", [False, True])
def test_a_pickle_that_is_no_array_runs_nothing(tmp_path, make, as_npy):
    path, fuse = tmp_path / "1.0_2_100.npy", tmp_path / "fuse"
    if as_npy:
        holder = np.empty(1, object)
        holder[0] = make(fuse)
        np.save(path, holder, allow_pickle=True)
    else:
        save_pickled(path, make(fuse))
    with pytest.raises(UnusableInput, match="is no pickled array") as caught:
        load_row(path, allow_pickle=True)
    assert not fuse.exists()
    assert "\n" not in str(caught.value)


BAD_CONTENT = {
    "empty": (b"", "is no pickled array"),
    "text": (b"hello", "is no pickled array"),
    "cut": (pickle.dumps(np.zeros(50))[:-20], "is no pickled array"),
    "a list": (pickle.dumps([1.0, 2.0]), "holds a pickled list"),
    "words": (pickle.dumps(np.array(["a", "b"], object)), "something else than numbers"),
    "two rows": (pickle.dumps(np.zeros((2, 5), np.float32)), "expected one row"),
    "no row": (pickle.dumps(np.zeros((0,), np.float32)), "expected one row"),
    "huge": (pickle.dumps(np.zeros(3)).replace(b"\x8c\x05numpy", b"\x8c\x05nunpy"), "is no pickled array"),
}


@pytest.mark.parametrize("what", BAD_CONTENT)
def test_foreign_content_is_named_in_one_line(tmp_path, what):
    path = tmp_path / "1.0_2_100.npy"
    content, says = BAD_CONTENT[what]
    path.write_bytes(content)
    with pytest.raises(UnusableInput, match=says) as caught:
        load_row(path, allow_pickle=True)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_an_archive_is_no_array(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.zeros(3))
    shutil.move(tmp_path / "x.npz", tmp_path / "x.npy")
    with pytest.raises(UnusableInput, match="archive"):
        load_row(tmp_path / "x.npy", allow_pickle=False)


def test_the_commands_export_import_and_compare(captures, tmp_path, capsys):
    legacy = tmp_path / "file_npy"
    assert main(["export", str(captures), str(legacy)]) == 0
    assert main(["import", str(legacy), str(captures), str(tmp_path / "base")]) == 0
    assert "0 without a counterpart, 2 matched by order" in capsys.readouterr().out
    assert main(["compare", str(legacy), str(captures)]) == 0
    assert capsys.readouterr().out.startswith("PASS\n5 of 5 rows all-close (atol 0.005")
    assert main(["compare", str(legacy), str(captures), "--atol", "0", "--rtol", "0"]) == 0
    next(legacy.glob("*_200.npy")).unlink()
    assert main(["compare", str(legacy), str(captures)]) == 1  # a row of ours has no counterpart


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda legacy: (legacy / "odd.npy").write_bytes(b""), "is not called <time>_<seq>_<idx>.npy"),
        (lambda legacy: (legacy / "1_2_x.npy").write_bytes(b""), "is not called <time>_<seq>_<idx>.npy"),
        (shutil.rmtree, "does not exist"),
        (lambda legacy: [path.unlink() for path in legacy.iterdir()], "holds no <time>_<seq>_<idx>.npy"),
        (lambda legacy: next(legacy.iterdir()).write_bytes(b"junk"), "allow pickles"),
    ],
)
def test_an_unusable_folder_is_one_line_and_leaves_no_half_written_base(captures, tmp_path, capsys, spoil, says):
    legacy, out = tmp_path / "file_npy", tmp_path / "base"
    export_legacy(captures, legacy)
    spoil(legacy)
    for command in (["import", str(legacy), str(captures), str(out)], ["compare", str(legacy), str(captures)]):
        assert main(command) == 2
        captured = capsys.readouterr()
        assert captured.out == "" and captured.err.count("\n") == 1 and says in captured.err
        assert not out.exists()


def test_nothing_is_overwritten(captures, tmp_path, capsys):
    assert main(["export", str(captures), str(captures)]) == 2
    assert "must be a new or empty folder" in capsys.readouterr().err
    assert [capture.prompt_id for capture in in_order(read_folder(captures))] == [
        "prompt-9", "prompt-10", "prompt-11", "prompt-12"
    ]  # fmt: skip
