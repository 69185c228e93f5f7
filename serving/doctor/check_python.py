"""Judges the interpreter and the installed packages. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from serving.doctor import versions
from serving.doctor.facts import PythonFacts
from serving.doctor.finding import Finding, missing, ok, warning
from serving.doctor.version_file import series

_SETUP = "make setup"
_SHOWN = 5  # names of packages in one line


def check(facts: PythonFacts) -> Iterator[Finding]:
    """Version, packages as locked, and whether the two that depend on each other most belong together."""
    if series(facts.version) == versions.PYTHON:
        yield ok("python", f"{facts.version} on {facts.machine}")
    else:
        yield missing("python", facts.version, f"make setup PYTHON=/path/to/python{versions.PYTHON}")
    yield from _packages(facts)
    yield _model_libraries(facts)


def _packages(facts: PythonFacts) -> Iterator[Finding]:
    absent = [name for name in facts.locked if name not in facts.installed]
    other = [name for name, version in facts.locked.items() if facts.installed.get(name, version) != version]
    if absent:
        yield missing("packages", f"not installed: {_some(absent)}", _SETUP)
    if other:
        named = [f"{name} {facts.installed[name]} (locked: {facts.locked[name]})" for name in other]
        yield warning("packages", f"other versions than tested: {_some(named)}", _SETUP)
    if not absent and not other:
        yield ok("packages", f"{len(facts.locked)} as in requirements.lock")


def _model_libraries(facts: PythonFacts) -> Finding:
    name = "mindspore and mindformers"
    mindspore, mindformers = facts.installed.get("mindspore"), facts.installed.get("mindformers")
    if mindspore is None or mindformers is None:
        return missing(name, f"mindspore {mindspore or 'absent'}, mindformers {mindformers or 'absent'}", _SETUP)
    found = f"mindspore {mindspore}, mindformers {mindformers}"
    if mindformers not in versions.MINDFORMERS:
        return warning(name, f"{found}: a pair that is not in the versions matrix", _SETUP)
    wanted = versions.MINDFORMERS[mindformers][0]
    if mindspore != wanted:
        return missing(name, f"{found}: they do not belong together", f"{_SETUP} (mindspore {wanted})")
    numpy = facts.installed.get("numpy", "")
    if numpy.startswith("2."):
        return missing(name, f"{found} with numpy {numpy}", f"{_SETUP} (MindSpore's C extension needs numpy below 2)")
    return ok(name, found)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
