"""What neither the harness nor serving can know to be wrong alone: a line per mistake, before anything starts."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from conf.schema import PlumblineConfig
from serving.config import Fake

_NAME = re.compile(r"\w[\w.-]*", re.ASCII)


def problems(config: PlumblineConfig) -> list[str]:
    """One line per mistake: full key, value, what is allowed."""
    return [*_places(config), *_logits(config)]


def _places(config: PlumblineConfig) -> Iterator[str]:
    if not _NAME.fullmatch(config.name):
        yield f"name={config.name}: must be a folder's name of letters, digits, '.', '_' and '-'"
    if reason := unusable(Path(config.outputs_dir)):
        yield f"outputs_dir={config.outputs_dir}: must be a folder that can be written to ({reason})"


def unusable(folder: Path) -> str:
    """Why nothing can be written into a folder, existing or to be made; "" if something can."""
    place = next(place for place in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(place))
    if not place.is_dir():
        return f"{place} is no folder"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return str(error.strerror)
    return "" if os.access(folder, os.W_OK) else "not writable"


def _logits(config: PlumblineConfig) -> Iterator[str]:
    accuracy, seq_length = config.accuracy, config.model.seq_length
    if not accuracy.enabled or config.serving.external:
        return
    if config.serving.fake is not Fake.off:
        yield f"serving.fake={config.serving.fake}: answers without logits; must be off, or add accuracy=none"
    beyond = [position for position in accuracy.positions if position >= seq_length]
    if beyond:
        yield f"accuracy.positions={accuracy.positions}: must be below model.seq_length={seq_length}"
