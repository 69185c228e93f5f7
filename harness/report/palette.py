"""The colours of every chart, in reports and notebooks: Okabe and Ito's, told apart by colour-blind readers too.

Source: M. Okabe, K. Ito, "Color Universal Design", 2008. The dark variants are lighter tints of the same hues.
"""

from __future__ import annotations

LIGHT = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "vermillion": "#D55E00",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
    "grey": "#6B7280",
}
DARK = {
    "blue": "#5AB0EE",
    "orange": "#F0B83C",
    "green": "#35C79B",
    "vermillion": "#F4895F",
    "purple": "#E3A3C8",
    "sky": "#9AD4F7",
    "grey": "#9CA3AF",
}
ORDER = ("blue", "orange", "green", "purple", "vermillion", "sky", "grey")  # of series; vermillion also marks failures
DASHES = ("", "6 3", "2 3", "8 3 2 3", "4 2", "1 2", "10 4")  # so that a black-and-white print can be read
# What a colour stands for wherever requests are shown.
PHASES = {"queue": "orange", "prefill": "purple", "decode": "blue"}
FAILED = "vermillion"


def colour(number: int) -> str:
    """The name of the n-th series' colour; they repeat after seven."""
    return ORDER[number % len(ORDER)]


def dash(number: int) -> str:
    """The n-th series' stroke-dasharray, '' = solid."""
    return DASHES[number % len(DASHES)]


def css() -> str:
    """The colours as CSS variables --blue, --orange, …, of both schemes."""
    light, dark = ("".join(f"--{name}:{value};" for name, value in colours.items()) for colours in (LIGHT, DARK))
    return f":root{{{light}}}\n@media screen and (prefers-color-scheme: dark){{:root{{{dark}}}}}"
