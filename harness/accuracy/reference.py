"""Where the rows come from that served logits are compared with, and whether they can be. It compares no rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.accuracy.capture import Capture, read_folder
from harness.accuracy.errors import UnusableInput
from harness.accuracy.legacy import EVERY, import_legacy, read_names
from harness.accuracy.manifest import read_manifest, unlike
from harness.config import AccuracyConfig, ReferenceKind
from harness.run_folder import REFERENCE
from harness.server import Server

OnStep = Callable[[str, int, int], None]


@dataclass
class Base:
    """What to compare with. `problems`: why it is not the whole truth about this run, one line each."""

    captures: dict[str, Capture]
    every: int  # rows at other positions have no counterpart in it
    problems: list[str]


def stored(accuracy: AccuracyConfig) -> dict[str, Capture]:
    """The captures of the stored baseline by prompt id; {} for other references. Raises UnusableInput."""
    if accuracy.reference is not ReferenceKind.baseline:
        return {}
    return read_folder(Path(accuracy.baseline_path))


def obtain(accuracy: AccuracyConfig, server: Server, captured: Path, run_dir: Path, on_step: OnStep) -> Base:
    """Compute, import or read the reference of what was captured. Raises ServerError, UnusableInput."""
    out = run_dir / REFERENCE
    if accuracy.reference is ReferenceKind.independent:
        server.reference(captured, out, on_step)
        return Base(read_folder(out), 1, [])
    folder = Path(accuracy.baseline_path)
    if accuracy.reference is ReferenceKind.legacy:
        import_legacy(folder, captured, out, accuracy.allow_pickle)
        return Base(read_folder(out), EVERY, [])
    asked = read_folder(captured).keys()
    base = {name: capture for name, capture in read_folder(folder).items() if name in asked}
    problems = [f"{folder}: {text}" for text in unlike(read_manifest(folder), read_manifest(captured))]
    return Base(base, 1, problems)


def problems(accuracy: AccuracyConfig) -> list[str]:
    """What can be known to be wrong with the reference before anything starts."""
    if accuracy.reference is ReferenceKind.independent:
        return []
    key, kind = "accuracy.baseline_path", accuracy.reference
    if not accuracy.baseline_path:
        return [f"{key}='': must name a folder of logits for accuracy.reference={kind}"]
    try:
        if kind is ReferenceKind.legacy:
            read_names(Path(accuracy.baseline_path))
            return []
        num_known = len(stored(accuracy))
    except UnusableInput as error:
        return [f"{key}={accuracy.baseline_path}: {error}"]
    if num_known < accuracy.num_prompts:
        return [f"accuracy.num_prompts={accuracy.num_prompts}: the baseline holds {num_known} (accuracy.baseline_path)"]
    return []
