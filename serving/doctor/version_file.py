"""Reads the version files of Ascend's packages: lines of `key=value`. Pure. Not verified on device."""

from __future__ import annotations

import re

_LINE = re.compile(r"^\s*version\s*=\s*(\S+)\s*$", re.IGNORECASE | re.MULTILINE)
_SERIES = re.compile(r"^(\d+)\.(\d+)")


def version_in(text: str) -> str | None:
    """The value of `version` or `Version`; None if there is none."""
    found = _LINE.search(text)
    return found.group(1) if found else None


def series(version: str) -> tuple[int, int] | None:
    """Major and minor number: (26, 0) of `26.0.rc1`; None if it is no version."""
    found = _SERIES.match(version)
    return (int(found.group(1)), int(found.group(2))) if found else None


def dotted(numbers: tuple[int, int]) -> str:
    """(26, 0) as 26.0."""
    return f"{numbers[0]}.{numbers[1]}"
