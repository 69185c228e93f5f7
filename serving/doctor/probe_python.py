"""Looks at the interpreter and at what is installed for it; imports none of it."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from importlib import metadata, util
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from serving.doctor.facts import PythonFacts

LOCK = Path(__file__).parents[2] / "requirements.lock"
_ASCEND_PLUGIN = "lib/plugin/libmindspore_ascend.so*"
_CONTINUED = re.compile(r"\\\n\s*")
_HASH = re.compile(r"\s*--hash=\S+")


def probe(lock: Path = LOCK) -> PythonFacts:
    """What is here, and what the lock wants on a machine like this."""
    installed: dict[str, str] = {
        canonicalize_name(distribution.metadata["Name"]): distribution.version
        for distribution in metadata.distributions()
        if distribution.metadata["Name"]
    }
    return PythonFacts(
        version=platform.python_version(),
        machine=platform.machine(),
        installed=installed,
        locked=dict(locked(lock.read_text(encoding="utf-8"))) if lock.is_file() else {},
        has_ascend_plugin=_has_ascend_plugin(),
    )


def locked(text: str) -> Iterator[tuple[str, str]]:
    """(normalised name, version) of every pin of a requirements file that applies to this platform."""
    for line in _HASH.sub("", _CONTINUED.sub("", text)).splitlines():
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue  # a comment, an option or an empty line
        pins = [specifier.version for specifier in requirement.specifier if specifier.operator == "=="]
        if pins and (requirement.marker is None or requirement.marker.evaluate()):
            yield canonicalize_name(requirement.name), pins[0]


def _has_ascend_plugin() -> bool:
    spec = util.find_spec("mindspore")  # does not import it
    folders = (spec.submodule_search_locations if spec else None) or []
    return any(next(Path(folder).glob(_ASCEND_PLUGIN), None) for folder in folders)
