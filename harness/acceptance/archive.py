"""Writes one zip, whole or not at all: acceptance.json first, which says what the others are, then the others."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import orjson

from harness import run_folder, whole_file

SUMMARY = "acceptance.json"
REDACTED = b"(redacted)"
_TEXT = (".json", ".yaml", ".log", ".html")


def write(run_dir: Path, path: Path, summary: dict[str, Any], secrets: list[str]) -> Path:
    """Pack the run into `path`. secrets: strings that are replaced wherever they stand in a text file."""
    files = {name: _content(run_dir / name, secrets) for name in _names(run_dir)}
    listed = {
        name: {"what": _what(name), "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in files.items()
    }
    head = orjson.dumps({**summary, "files": listed}, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    with whole_file.writing(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(SUMMARY, _redacted(head, secrets))
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def _names(run_dir: Path) -> list[str]:
    """Files worth sending, relative to the run folder: its own and the points', logs last; no rows of logits."""
    logits = [run_dir / run_folder.CAPTURES, run_dir / run_folder.REFERENCE]
    folders = [run_dir, *run_folder.point_folders(run_dir), *logits]
    found = [path for folder in folders for path in run_folder.files(folder)]
    return [str(path.relative_to(run_dir)) for path in (*found, *run_folder.logs(run_dir))]


def _what(name: str) -> str:
    return run_folder.FILES.get(Path(name).name, "what a process said")


def _content(path: Path, secrets: list[str]) -> bytes:
    content = path.read_bytes()
    return _redacted(content, secrets) if path.suffix in _TEXT else content


def _redacted(content: bytes, secrets: list[str]) -> bytes:
    for secret in secrets:
        for written in (secret, json.dumps(secret)[1:-1]):
            content = content.replace(written.encode(), REDACTED)
    return content
