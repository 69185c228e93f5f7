import json
import math

import numpy as np
import pytest

from harness.accuracy import Tolerance, UnusableInput, compare_folders, meets_bar
from harness.accuracy.__main__ import main
from harness.accuracy.plan import SPAN_ELEMENTS, common_prefix
from harness.accuracy.table import RowStatus
from tests.support.captures import random_rows, write_capture

VOCAB = 300


@pytest.fixture
def folders(tmp_path):
    """Three requests of 2, 5 and 1 rows, equal in both folders."""
    base, new = tmp_path / "base", tmp_path / "new"
    for folder in (base, new):
        for seed, (name, num_rows) in enumerate({"a": 2, "b": 5, "c": 1}.items()):
            write_capture(folder, name, random_rows(num_rows, VOCAB, seed))
    return base, new


def change(folder, name, edit):
    rows = np.load(folder / f"{name}.npy")
    edit(rows)
    np.save(folder / f"{name}.npy", rows)


def test_equal_folders_pass_bit_for_bit(folders):
    metrics = compare_folders(*folders).metrics
    assert (metrics.allclose_pass_rate, metrics.allclose_rows_total, metrics.bit_equal_rate) == (1, 8, 1)
    assert (metrics.max_abs_diff, metrics.max_ulp_diff, metrics.kl_max) == (0, 0, 0)
    assert (metrics.top1_agreement, metrics.top5_agreement, metrics.text_match_rate) == (1, 1, 1)
    assert metrics.allclose_requests_passed == 3
    assert metrics.first_failed_prompt_id is None
    assert meets_bar(metrics, 1, bit_exact=True)


def test_names_the_request_and_position_of_the_worst_row(folders):
    change(folders[1], "b", lambda rows: rows.__setitem__((3, 17), rows[3, 17] + 0.25))
    comparison = compare_folders(*folders)
    metrics = comparison.metrics
    assert (metrics.worst_prompt_id, metrics.worst_position, metrics.worst_token_id) == ("b", 5, 17)
    assert metrics.max_abs_diff == pytest.approx(0.25, rel=1e-5)
    assert metrics.worst_batch_size == 4
    assert (metrics.first_failed_prompt_id, metrics.first_failed_position) == ("b", 5)
    assert metrics.first_failed_reason == "failed"
    assert (metrics.allclose_rows_passed, metrics.allclose_requests_passed) == (7, 2)
    assert metrics.mean_abs_diff == pytest.approx(0.25 / VOCAB / 8, rel=1e-4)
    assert not meets_bar(metrics, 1)
    assert meets_bar(metrics, 0.875)


def test_bit_exactness_catches_what_closeness_forgives(folders):
    change(folders[1], "a", lambda rows: rows.__setitem__((0, 0), np.nextafter(rows[0, 0], np.float32(np.inf))))
    metrics = compare_folders(*folders).metrics
    assert metrics.allclose_pass_rate == 1
    assert metrics.max_ulp_diff == 1
    assert meets_bar(metrics, 1)
    assert not meets_bar(metrics, 1, bit_exact=True)


def test_top_token_divergence_is_named(folders):
    def swap_best(rows):
        best, last = rows[4].argmax(), rows[4].argmin()
        rows[4, [best, last]] = rows[4, [last, best]]

    change(folders[1], "b", swap_best)
    metrics = compare_folders(*folders).metrics
    assert metrics.top1_agreement == pytest.approx(7 / 8)
    assert metrics.top5_agreement == pytest.approx((7 + 4 / 5) / 8)
    assert (metrics.first_divergent_prompt_id, metrics.first_divergent_position) == ("b", 6)
    assert metrics.kl_max > 0.1


def test_every_row_is_accounted_for(tmp_path):
    base, new = tmp_path / "base", tmp_path / "new"
    write_capture(base, "both", random_rows(4, VOCAB), positions=[2, 3, 5, 6])
    write_capture(new, "both", random_rows(4, VOCAB)[[0, 1, 2, 3]], positions=[2, 4, 5, 6])
    write_capture(base, "gone", random_rows(2, VOCAB))
    write_capture(new, "added", random_rows(1, VOCAB))
    write_capture(base, "wide", random_rows(3, VOCAB))
    write_capture(new, "wide", random_rows(3, VOCAB + 1))
    write_capture(base, "half", random_rows(1, VOCAB))
    write_capture(new, "half", random_rows(1, VOCAB).astype(np.float16))
    write_capture(base, "other", random_rows(3, VOCAB), generated_ids=[10, 11, 12])
    write_capture(new, "other", random_rows(3, VOCAB), generated_ids=[10, 99, 12])
    rows = random_rows(2, VOCAB)
    write_capture(base, "nan", rows)
    rows[1, 5] = np.nan
    write_capture(new, "nan", rows)
    comparison = compare_folders(base, new)
    metrics = comparison.metrics
    assert metrics.allclose_rows_total == 5 + 2 + 1 + 3 + 1 + 3 + 2
    assert metrics.allclose_rows_passed == 3 + 2 + 1
    assert metrics.allclose_rows_missing == 1 + 2
    assert metrics.allclose_rows_extra == 1 + 1
    assert metrics.allclose_rows_shape == 3
    assert metrics.allclose_rows_dtype == 1
    assert metrics.allclose_rows_history == 1  # position 4 was fed another token; 2 and 3 were not
    assert metrics.allclose_rows_nan == 1
    assert metrics.allclose_rows_failed == 0
    assert (metrics.first_failed_prompt_id, metrics.first_failed_reason) == ("added", "extra")
    assert metrics.text_match_rate == pytest.approx(4 / 5)
    assert np.isnan(comparison.table.kl[~comparison.table.has_status(RowStatus.passed)]).all()


def test_rows_are_matched_by_position_not_by_order(tmp_path):
    rows = random_rows(6, VOCAB)
    write_capture(tmp_path / "base", "p", rows, positions=[2, 3, 4, 5, 6, 7])
    write_capture(tmp_path / "new", "p", rows[[1, 3, 4]], positions=[3, 5, 6], generated_ids=list(range(10, 16)))
    metrics = compare_folders(tmp_path / "base", tmp_path / "new").metrics
    assert (metrics.allclose_rows_passed, metrics.allclose_rows_missing) == (3, 3)


def test_nothing_compared_is_never_a_pass(tmp_path):
    write_capture(tmp_path / "base", "p", random_rows(2, VOCAB))
    write_capture(tmp_path / "new", "p", random_rows(2, VOCAB + 1))
    metrics = compare_folders(tmp_path / "base", tmp_path / "new").metrics
    assert metrics.rows_compared == 0
    assert metrics.max_abs_diff is None
    assert metrics.worst_prompt_id is None
    assert not meets_bar(metrics, 0)


def test_spans_longer_than_a_workers_share_and_any_number_of_workers_agree(tmp_path):
    vocab = SPAN_ELEMENTS // 8 - 3
    rows = random_rows(20, vocab)
    other = rows.copy()
    other[13, 5] += 1
    write_capture(tmp_path / "base", "p", rows)
    write_capture(tmp_path / "new", "p", other)
    seen = []
    one = compare_folders(tmp_path / "base", tmp_path / "new", num_workers=1, progress=lambda *step: seen.append(step))
    four = compare_folders(tmp_path / "base", tmp_path / "new", num_workers=4)
    assert one.metrics == four.metrics
    assert (one.metrics.worst_position, one.metrics.allclose_rows_passed) == (15, 19)
    assert seen == [(8, 20), (16, 20), (20, 20)]


def test_quick_leaves_the_distribution_out(folders):
    change(folders[1], "a", lambda rows: rows.__iadd__(1e-3))
    metrics = compare_folders(*folders, Tolerance(quick=True)).metrics
    assert metrics.allclose_pass_rate == 1
    assert metrics.max_abs_diff == pytest.approx(1e-3, rel=1e-2)
    assert (metrics.kl_mean, metrics.top1_agreement, metrics.max_ulp_diff) == (None, None, None)


def test_common_prefix():
    assert common_prefix([1, 2, 3], [1, 2, 4]) == 2
    assert common_prefix([1, 2], [1, 2, 4]) == 2
    assert common_prefix([], [1]) == 0


SPOIL_ARRAY = {
    "no file": lambda path: path.unlink(),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "no npy": lambda path: path.write_bytes(b"hello"),
    "empty": lambda path: path.write_bytes(b""),
    "pickled": lambda path: np.save(path, np.array([{"a": 1}], object), allow_pickle=True),
    "flat": lambda path: np.save(path, np.zeros(5, np.float32)),
    "columns": lambda path: np.save(path, np.asfortranarray(random_rows(5, VOCAB))),
}
SPOIL_DESCRIPTION = {
    "no json": lambda _: "{",
    "other id": lambda description: json.dumps({**description, "prompt_id": "c"}),
    "text position": lambda description: json.dumps({**description, "positions": ["2", 3, 4, 5, 6]}),
    "too few positions": lambda description: json.dumps({**description, "positions": [2, 3, 4, 5]}),
    "twice": lambda description: json.dumps({**description, "positions": [2, 2, 4, 5, 6]}),
    "beyond the end": lambda description: json.dumps({**description, "positions": [2, 3, 4, 5, 1000]}),
}


def spoil(folder, how):
    if how in SPOIL_ARRAY:
        SPOIL_ARRAY[how](folder / "b.npy")
    else:
        path = folder / "b.json"
        path.write_text(SPOIL_DESCRIPTION[how](json.loads(path.read_text())))


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("no file", "has no b.npy beside it"),
        ("cut short", "is cut short"),
        ("no npy", "is no .npy file"),
        ("empty", "is no .npy file"),
        ("pickled", "pickled objects"),
        ("flat", "expected [rows, vocabulary]"),
        ("columns", "column by column"),
        ("no json", "cannot be read as JSON"),
        ("other id", "prompt_id is 'b'"),
        ("text position", "positions must be a list of integers"),
        ("too few positions", "positions names 4 rows, b.npy holds 5"),
        ("twice", "positions must ascend"),
        ("beyond the end", "must lie within the 8 tokens"),
    ],
)
@pytest.mark.parametrize("side", [0, 1])
def test_unusable_files_are_named_in_one_line(folders, capsys, how, says, side):
    spoil(folders[side], how)
    assert main([str(folders[0]), str(folders[1])]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert str(folders[side] / "b.") in captured.err
    assert says in captured.err


def test_unusable_folders(folders, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "manifest.json").write_text("{}")
    for folder, says in (
        (tmp_path / "none", "does not exist"),
        (folders[0] / "a.npy", "is not a folder"),
        (tmp_path / "empty", "holds no captured logits"),
    ):
        with pytest.raises(UnusableInput, match=says):
            compare_folders(folders[0], folder)
    write_capture(tmp_path / "stranger", "z", random_rows(1, VOCAB))
    with pytest.raises(UnusableInput, match="nothing to compare"):
        compare_folders(folders[0], tmp_path / "stranger")


def test_command_line_passes_and_fails(folders, capsys):
    assert main([str(folders[0]), str(folders[1])]) == 0
    assert capsys.readouterr().out.startswith("PASS\n8 of 8 rows all-close (atol 0.005, rtol 1e-05)")
    change(folders[1], "b", lambda rows: rows.__setitem__((1, 9), math.nan))
    change(folders[1], "c", lambda rows: rows.__iadd__(0.5))
    assert main([str(folders[0]), str(folders[1])]) == 1
    printed = capsys.readouterr().out
    assert printed.startswith("FAIL\n6 of 8 rows all-close")
    assert "1 outside the tolerance, 1 a NaN in it" in printed
    assert "first not passed: prompt b, position 3: a NaN in it" in printed
    assert "largest difference 0.5 (" in printed
    assert "ulp) at prompt c, position 2" in printed
    assert main([str(folders[0]), str(folders[1]), "--json", "--min-pass-rate", "0.75"]) == 0
    assert json.loads(capsys.readouterr().out)["allclose_rows_nan"] == 1
    with pytest.raises(SystemExit, match="2"):
        main([str(folders[0]), str(folders[1]), "--atol", "-1"])
