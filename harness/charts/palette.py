"""The colours of every chart by name; style.css gives each its value on light and on dark pages.

Okabe and Ito's, which colour-blind readers can tell apart (M. Okabe, K. Ito, "Color Universal Design", 2008). The
dark values are lighter tints of the same hues.
"""

from __future__ import annotations

from pathlib import Path

ORDER = ("blue", "orange", "green", "purple", "vermillion", "sky", "grey")  # of series; vermillion also marks failures
DASHES = ("", "6 3", "2 3", "8 3 2 3", "4 2", "1 2", "10 4")  # so that a black-and-white print can be read
# What a colour stands for wherever requests are shown.
PHASES = {"queue": "orange", "prefill": "purple", "decode": "blue"}
FAILED = "vermillion"
NEUTRAL = "grey"


def colour(number: int) -> str:
    """The name of the n-th series' colour; they repeat after seven."""
    return ORDER[number % len(ORDER)]


def dash(number: int) -> str:
    """The n-th series' stroke-dasharray, '' = solid."""
    return DASHES[number % len(DASHES)]


def css() -> str:
    """The style sheet that charts need: colours as CSS variables of both schemes, text, grid, legends."""
    return Path(__file__).with_name("style.css").read_text()
