"""What an acceptance run found, read from its folder into one document. It measures nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from harness import run_folder
from harness.acceptance import step_fit, step_table
from harness.run.environment import environment

FORMAT = 1
MECHANICS_ONLY = (
    "Run on the CPU: this proves that the acceptance run works. It says nothing about an NPU: "
    "the Ascend path is not verified on device by it."
)
ON_DEVICE = "Run on an Ascend device by whoever sends this. Compare `doctor` for which one."
_OF_VERDICT = ("verdict", "verdict_reasons", "accuracy_status", "complete", "incomplete_reason", "distrust")


def summarise(run_dir: Path, name: str, target: str, params: dict[str, str], root: Path) -> dict[str, Any]:
    """The document. target: MindSpore's device target; params: flattened configuration; root: the source tree.

    A part that the run did not come to is null or empty, so that a run that broke off can be sent as well.
    """
    metrics = run_folder.metrics_of(run_dir)
    steps = step_table.read(run_dir)
    return {
        "format": FORMAT,
        "what": "acceptance run of Plumbline",
        "name": name,
        "run": run_dir.name,
        "note": ON_DEVICE if target == "Ascend" else MECHANICS_ONLY,
        "target": target,
        "doctor": _json(run_dir / run_folder.DOCTOR),
        "verdict": {key: metrics.get(key) for key in _OF_VERDICT},
        "accuracy": {key: value for key, value in metrics.items() if _is_accuracy(key)},
        "served": _served(run_dir),
        "points": _points(run_dir, metrics),
        "step_times": step_table.breakdown(steps),
        "fit": step_fit.fit(steps),
        "config_digest": metrics.get("config_digest"),
        "params": params,
        "environment": environment(root),
    }


def _is_accuracy(key: str) -> bool:
    starts = ("allclose_", "max_", "mean_abs", "worst_", "top1", "top5", "kl_", "first_divergent", "text_")
    return key.startswith(starts)


def _served(run_dir: Path) -> Any:
    """Model, hashes, dtype and versions, as the manifest of the captured logits has them."""
    return _json(run_dir / run_folder.CAPTURES / run_folder.MANIFEST)


def _points(run_dir: Path, metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """Figures of every timed point in the order they ran."""
    if (run_dir / run_folder.SCHEDULE).is_file():
        return [{"folder": ".", **{key: value for key, value in metrics.items() if not _is_accuracy(key)}}]
    folders = run_folder.point_folders(run_dir)
    return [{"folder": folder.name, **run_folder.metrics_of(folder)} for folder in folders]


def _json(path: Path) -> Any:
    try:
        return orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
