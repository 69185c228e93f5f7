"""Writes one zip, whole or not at all: acceptance.json first, which says what the others are, then the others."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import orjson

SUMMARY = "acceptance.json"
REDACTED = b"(redacted)"
# What is worth sending, and what it holds; anything else in the run folder (logits rows above all) stays there.
_KINDS = {
    "config.yaml": "the resolved configuration",
    "stack.json": "what the serving processes were given",
    "doctor.json": "what the doctor found before the run",
    "model.json": "where the model was read from",
    "metrics.json": "flat figures",
    "schedule.json": "every send time, and the schedule's hash",
    "records.parquet": "one row per request: three clocks, every token's arrival, outcome, error",
    "steps.parquet": "one row per step: kind, sizes, context, time of each part in ns",
    "server_stats.json": "the server's own figures before and after the window",
    "telemetry.parquet": "processes, machine and device during the window",
    "series.parquet": "requests and machine over time",
    "accuracy.parquet": "one row per compared logits row",
    "manifest.json": "where captured or reference logits come from",
    "report.html": "the report",
}
_TEXT = (".json", ".yaml", ".log", ".html")
_SUBFOLDERS = ("point-*", "captures", "reference")


def write(run_dir: Path, path: Path, summary: dict[str, Any], secrets: list[str]) -> Path:
    """Pack the run into `path`. secrets: strings that are replaced wherever they stand in a text file."""
    files = {name: _content(run_dir / name, secrets) for name in _names(run_dir)}
    listed = {
        name: {"what": _what(name), "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in files.items()
    }
    head = orjson.dumps({**summary, "files": listed}, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    partial = path.with_suffix(".part")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(SUMMARY, _redacted(head, secrets))
        for name, content in files.items():
            archive.writestr(name, content)
    partial.replace(path)
    return path


def _names(run_dir: Path) -> list[str]:
    """Files worth sending, relative to the run folder: its own and the points', logs last."""
    folders = [run_dir, *(folder for pattern in _SUBFOLDERS for folder in sorted(run_dir.glob(pattern)))]
    found = [folder / name for folder in folders for name in _KINDS if (folder / name).is_file()]
    return [str(path.relative_to(run_dir)) for path in (*found, *sorted(run_dir.glob("*.log")))]


def _what(name: str) -> str:
    return _KINDS.get(Path(name).name, "what a process said")


def _content(path: Path, secrets: list[str]) -> bytes:
    content = path.read_bytes()
    return _redacted(content, secrets) if path.suffix in _TEXT else content


def _redacted(content: bytes, secrets: list[str]) -> bytes:
    for secret in secrets:
        for written in (secret, json.dumps(secret)[1:-1]):
            content = content.replace(written.encode(), REDACTED)
    return content
