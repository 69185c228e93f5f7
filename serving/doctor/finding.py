"""One line of the doctor's report. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """How bad it is."""

    ok = "ok"
    warning = "warning"  # it can run, but a figure may suffer or a combination is not the recommended one
    missing = "missing"  # it cannot run


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, what was found, and how to mend it; `mend` is empty where nothing needs mending."""

    name: str
    status: Status
    found: str
    mend: str = ""


def ok(name: str, found: str) -> Finding:
    """Nothing to do."""
    return Finding(name, Status.ok, found)


def warning(name: str, found: str, mend: str) -> Finding:
    """It can run."""
    return Finding(name, Status.warning, found, mend)


def missing(name: str, found: str, mend: str) -> Finding:
    """It cannot run."""
    return Finding(name, Status.missing, found, mend)
