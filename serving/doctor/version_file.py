"""Reads the version files of Ascend's packages: lines of `key=value`. Pure. Not verified on device."""

from __future__ import annotations

import re

_LINE = re.compile(r"^\s*version\s*=\s*(\S+)\s*$", re.IGNORECASE | re.MULTILINE)
_SERIES = re.compile(r"\d+\.\d+")


def version_in(text: str) -> str | None:
    """The value of `version` or `Version`; None if there is none."""
    found = _LINE.search(text)
    return found.group(1) if found else None


def series(version: str) -> str | None:
    """Major and minor number: 26.0 of `26.0.rc1`; None if it is no version.

    Not packaging.version, which refuses what Huawei writes, such as 24.1.rc3.b999.
    """
    found = _SERIES.match(version)
    return found.group() if found else None
