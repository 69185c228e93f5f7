"""Free-running text from each side's own choices: exact up to the first difference, whatever was fed back."""

from __future__ import annotations

import json

import pytest

from harness.accuracy import compare_folders
from harness.accuracy.capture import read_folder
from harness.accuracy.text import match_texts
from tests.support.captures import random_rows, write_capture

UNKNOWN = None


def write(folder, name, generated, chosen=()):
    """Two rows at the end of a prompt of three tokens; `chosen` () = the file does not tell."""
    write_capture(folder, name, random_rows(1, 20), generated_ids=generated, positions=[2])
    path = folder / f"{name}.json"
    if chosen != ():
        path.write_text(json.dumps({**json.loads(path.read_text()), "chosen_ids": chosen}))


@pytest.fixture
def folders(tmp_path):
    return tmp_path / "base", tmp_path / "new"


def matched(folders):
    return match_texts(read_folder(folders[0]), read_folder(folders[1]))


def test_teacher_forced_choices_are_compared_at_every_token(folders):
    write(folders[0], "a", [7, 8, 9, 5])
    write(folders[1], "a", [7, 8, 9, 5], [7, 8, 4, 5])  # forced on; it would have written 4
    found = matched(folders)
    assert (found.request_rate, found.token_rate) == (0, 3 / 4)
    assert found.first_divergent == ("a", 4)  # after the token at position 4 = 3 + 2 - 1


def test_free_running_texts_part_at_the_first_other_token(folders):
    write(folders[0], "a", [7, 8, 9, 5])
    write(folders[1], "a", [7, 1, 9, 5])
    found = matched(folders)
    assert (found.num_tokens, found.num_tokens_equal) == (2, 1)  # what came after 8 and 1 cannot be compared
    assert found.first_divergent == ("a", 3)


def test_a_text_that_ends_earlier_is_another_text(folders):
    write(folders[0], "a", [7, 8, 9])
    write(folders[1], "a", [7, 8])
    assert matched(folders).request_rate == 0


def test_unknown_choices_are_left_out(folders):
    write(folders[0], "a", [7, 8], UNKNOWN)
    write(folders[1], "a", [7, 8])
    write(folders[0], "b", [7, 8])
    write(folders[1], "b", [7, 8])
    assert (matched(folders).num_requests, matched(folders).request_rate) == (1, 1)
    (folders[0] / "b.json").unlink()
    (folders[0] / "b.npy").unlink()
    metrics = compare_folders(*folders).metrics
    assert (metrics.text_match_rate, metrics.token_match_rate) == (None, None)


def test_the_comparison_names_the_first_divergence_though_its_row_was_not_captured(folders):
    write(folders[0], "a", [7, 8, 9, 5])
    write(folders[1], "a", [7, 8, 9, 5], [7, 8, 9, 6])
    metrics = compare_folders(*folders).metrics
    assert metrics.allclose_pass_rate == 1
    assert (metrics.first_divergent_prompt_id, metrics.first_divergent_position) == ("a", 5)
