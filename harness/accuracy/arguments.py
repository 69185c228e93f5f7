"""Numbers on the command line, refused in argparse's words if they are out of range."""

from __future__ import annotations

import argparse


def non_negative(text: str) -> float:
    """A float >= 0 that is no NaN."""
    value = float(text)
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"must be 0 or more, not {text}")
    return value


def positive(text: str) -> int:
    """An int of 1 or more."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, not {text}")
    return value


def share(text: str) -> float:
    """A float from 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be from 0 to 1, not {text}")
    return value
