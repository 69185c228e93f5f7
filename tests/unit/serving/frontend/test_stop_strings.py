"""Stop strings across pieces of text."""

from hypothesis import given
from hypothesis import strategies as st

from serving.frontend.stop_strings import StopStrings

LETTERS = st.text("ab", max_size=12)


def pushed(stops: list[str], pieces: list[str]) -> tuple[list[str], StopStrings]:
    finder = StopStrings(stops)
    return [finder.push(piece) for piece in pieces], finder


def test_a_possible_beginning_is_held_back_until_it_is_decided() -> None:
    shown, finder = pushed(["END"], ["x E", "N", "o ", "EN", "D more"])
    assert shown == ["x ", "", "ENo ", "", ""]
    assert finder.found
    assert finder.flush() == ""


def test_what_became_no_stop_string_comes_out_at_the_end() -> None:
    shown, finder = pushed(["END"], ["a", "EN"])
    assert (shown, finder.flush(), finder.found) == (["a", ""], "EN", False)


def test_the_stop_string_that_is_complete_first_counts() -> None:
    shown, _ = pushed(["bcd", "c"], ["abcd"])
    assert shown == ["ab"]
    shown, _ = pushed(["cd", "bcd"], ["abcd"])
    assert shown == ["a"]


@given(st.lists(LETTERS, max_size=8), st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3))
def test_pieces_make_no_difference(pieces: list[str], stops: list[str]) -> None:
    text = "".join(pieces)
    ends = [(text.find(stop) + len(stop), text.find(stop)) for stop in stops if stop in text]
    shown, finder = pushed(stops, pieces)
    assert finder.found == bool(ends)
    whole = "".join(shown) + finder.flush()
    if not ends:
        assert whole == text
    else:
        # between two stop strings that end at the same letter the longer wins, whatever the pieces
        first_end = min(end for end, _ in ends)
        assert whole == text[: min(start for end, start in ends if end == first_end)]
