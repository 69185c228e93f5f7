"""What neither the harness nor serving can know to be wrong alone: a line per mistake, before anything starts."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from conf.schema import PlumblineConfig
from serving.config import Fake, ModelKind

_NAME = re.compile(r"\w[\w.-]{0,99}", re.ASCII)
_TAKEN = ("latest", "serve")  # launch.py's link to the newest run, and serve.py's folder


def problems(config: PlumblineConfig) -> list[str]:
    """One line per mistake: full key, value, what is allowed."""
    return [*_logits(config), *_lengths(config), *_places(config)]


def _places(config: PlumblineConfig) -> Iterator[str]:
    if not _NAME.fullmatch(config.name):
        yield (
            f"name={config.name}: must be a folder's name: at most 100 letters, digits, '.', '_' and '-', "
            "beginning with none of '.' and '-'"
        )
    elif config.name in _TAKEN:
        yield f"name={config.name}: must be none of {', '.join(_TAKEN)}, which outputs_dir has for something else"
    if reason := unusable(Path(config.outputs_dir)) if config.outputs_dir else "it is empty":
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
    fake = config.serving.fake
    if fake in (Fake.frontend, Fake.worker, Fake.agent):
        yield f"serving.fake={fake}: answers without logits; use accuracy=none"
    elif fake is Fake.model and config.model.kind is not ModelKind.arithmetic:
        yield f"serving.fake={fake}: answers with other logits than model.kind={config.model.kind}; use accuracy=none"
    # The last token of the longest sequence is not fed back, so it has no row.
    if any(position > seq_length - 2 for position in accuracy.positions):
        yield (
            f"accuracy.positions={accuracy.positions}: must be at most {seq_length - 2}, the last that has a row with "
            f"model.seq_length={seq_length}"
        )


def _lengths(config: PlumblineConfig) -> Iterator[str]:
    if config.serving.external:
        return
    accuracy, seq_length = config.accuracy, config.model.seq_length
    asked = {"workload.dataset": config.workload.dataset.max_new_tokens}
    if accuracy.enabled and accuracy.dataset_path:  # else the workload's cap holds for the logits task too
        asked["accuracy"] = accuracy.max_new_tokens
    for key, count in asked.items():
        if count >= seq_length:
            yield (
                f"{key}.max_new_tokens={count}: must be at most {seq_length - 1}, since a prompt must fit into "
                f"model.seq_length={seq_length} too"
            )
