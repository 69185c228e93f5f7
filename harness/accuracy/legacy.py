"""The 2024 contest's folders of logits, to and from ours. It compares nothing.

There, one file holds one row and is called <time>_<seq>_<idx>.npy: `time` is the clock's, `seq` the first 20 characters
of the prompt's token ids joined (as floats, `1.020355.0915.0278.0`, for a decode row, as integers for a prefill row),
`idx` the absolute position of the token just fed, a multiple of 100. Rows are float32 [1, 1, vocab] for decode and
[1, vocab] for prefill; old baselines hold them as pickled object arrays. Prompts that begin alike share a key, so only
the order of the times tells them apart: that order is taken to be the prompts' own.
"""

from __future__ import annotations

import argparse
import io
import pickle
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from harness.accuracy.capture import Capture, read_folder
from harness.accuracy.errors import UnusableInput

EVERY = 100  # the contest dumped positions divisible by this
SEQ_LENGTH = 20
FIRST_TIME = 1_700_000_000  # of exported names: any will do, as long as later files sort after earlier ones

Key = tuple[str, int]  # seq, idx


@dataclass(frozen=True, slots=True)
class ImportedFolder:
    """How a legacy folder was matched with captures of ours."""

    num_rows: int
    num_unmatched: int  # no capture of ours has their key: they will count as missing
    num_ambiguous: int  # matched by order, because several prompts share the key


def key_of(capture: Capture, position: int) -> Key:
    """What the contest's dump would call this row, but for the time."""
    decode = position >= len(capture.prompt_ids)
    joined = "".join(f"{token_id:.1f}" if decode else str(token_id) for token_id in capture.prompt_ids)
    return joined[:SEQ_LENGTH], position


def export_legacy(captures: Path, out: Path) -> int:
    """Write the rows at positions divisible by 100 under legacy names into a new folder; returns how many.

    Raises UnusableInput if the captures can't be read, hold no such row, or `out` already holds files.
    """
    _refuse_filled(out)
    count = 0
    for capture in read_folder(captures).values():
        rows = np.load(capture.logits.path, mmap_mode="r")
        for index, position in enumerate(capture.positions):
            if position % EVERY == 0:
                seq, idx = key_of(capture, position)
                row = np.array(rows[index], np.float32)[np.newaxis]
                decode = position >= len(capture.prompt_ids)
                np.save(out / f"{FIRST_TIME + count}.0_{seq}_{idx}.npy", row[np.newaxis] if decode else row)
                count += 1
    if count == 0:
        raise UnusableInput(captures, f"holds no row at a position divisible by {EVERY}")
    return count


def import_legacy(legacy: Path, captures: Path, out: Path, allow_pickle: bool = False) -> ImportedFolder:
    """Write a legacy folder as a base for `captures` (which know the prompts' tokens) into the new folder `out`.

    Raises UnusableInput naming the file for a wrong name, an unreadable array, or pickled objects without allow_pickle.
    """
    ours = read_folder(captures)
    wanted: dict[Key, list[str]] = defaultdict(list)
    for capture in ours.values():
        for position in capture.positions:
            wanted[key_of(capture, position)].append(capture.prompt_id)
    rows: dict[str, dict[int, Path]] = defaultdict(dict)
    num_unmatched = num_ambiguous = 0
    files = _read_names(legacy)
    for (seq, idx), paths in files.items():
        prompt_ids = wanted.get((seq, idx), [])
        num_ambiguous += len(paths) if len(prompt_ids) > 1 else 0
        num_unmatched += max(0, len(paths) - len(prompt_ids))
        for number, path in enumerate(paths):
            name = prompt_ids[number] if number < len(prompt_ids) else f"unmatched-{seq}-{number}"
            rows[name][idx] = path
    _refuse_filled(out)
    for name, paths_by_position in rows.items():
        _write(out, name, ours.get(name), paths_by_position, allow_pickle)
    return ImportedFolder(sum(map(len, files.values())), num_unmatched, num_ambiguous)


def load_row(path: Path, allow_pickle: bool) -> NDArray[np.float32]:
    """One legacy file's logits, float32 [vocab]. Pickles may hold arrays of numbers and nothing else."""
    try:
        array = np.load(path, allow_pickle=False)
    except ValueError as error:
        if not allow_pickle:
            raise UnusableInput(path, "is no plain array; if you trust it, allow pickled arrays") from error
        array = _load_pickled(path)
    except OSError as error:
        raise UnusableInput(path, f"cannot be read ({error})") from error
    try:
        row = np.asarray(array.tolist() if array.dtype.hasobject else array, np.float32)
    except (TypeError, ValueError) as error:
        raise UnusableInput(path, "holds something else than numbers") from error
    if row.ndim == 0 or row.size != row.shape[-1]:
        raise UnusableInput(path, f"has shape {list(row.shape)}, expected one row of logits")
    return row.reshape(-1)


class _ArrayUnpickler(pickle.Unpickler):
    """Builds NumPy arrays; refuses every other class, so that a pickle cannot run code."""

    ALLOWED = frozenset(
        {(f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")}
        | {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it wants {module}.{name}, which is no array")
        return super().find_class(module.replace("numpy._core", "numpy.core"), name)


def _load_pickled(path: Path) -> NDArray[Any]:
    stream = io.BytesIO(path.read_bytes())
    try:
        if stream.getbuffer()[:6] == npy_format.MAGIC_PREFIX:
            npy_format.read_magic(stream)  # type: ignore[no-untyped-call]
            npy_format.read_array_header_1_0(stream)  # type: ignore[no-untyped-call]
        array = _ArrayUnpickler(stream).load()
    except (pickle.UnpicklingError, ValueError, EOFError, IndexError, AttributeError, TypeError) as error:
        raise UnusableInput(path, f"is no pickled array ({error})") from error
    if not isinstance(array, np.ndarray):
        raise UnusableInput(path, f"holds a pickled {type(array).__name__}, not an array")
    return array


def _read_names(folder: Path) -> dict[Key, list[Path]]:
    """The folder's files by key, each key's in order of time. The contest sorted names as text; so do we."""
    if not folder.is_dir():
        raise UnusableInput(folder, "is not a folder" if folder.exists() else "does not exist")
    files: dict[Key, list[Path]] = defaultdict(list)
    for path in sorted(folder.glob("*.npy")):
        fields = path.name.removesuffix(".npy").split("_")
        if len(fields) != 3 or not fields[2].isdecimal():
            raise UnusableInput(path, "is not called <time>_<seq>_<idx>.npy")
        files[fields[1], int(fields[2])].append(path)
    if not files:
        raise UnusableInput(folder, "holds no <time>_<seq>_<idx>.npy")
    return files


def _write(out: Path, name: str, ours: Capture | None, paths: dict[int, Path], allow_pickle: bool) -> None:
    positions = sorted(paths)
    rows = [load_row(paths[position], allow_pickle) for position in positions]
    if len({len(row) for row in rows}) > 1:
        raise UnusableInput(paths[positions[0]], "has another vocabulary size than the prompt's other rows")
    np.save(out / f"{name}.npy", np.stack(rows))
    description = {
        "prompt_id": name,
        "prompt_ids": ours.prompt_ids if ours else [0] * (positions[-1] + 1),
        "generated_ids": ours.generated_ids if ours else [],
        "positions": positions,
        "batch_sizes": [1] * len(positions),
    }
    (out / f"{name}.json").write_bytes(orjson.dumps(description))


def _refuse_filled(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UnusableInput(out, "must be a new or empty folder")
    out.mkdir(parents=True, exist_ok=True)


def main(arguments: list[str]) -> int:
    """Exit status 0: written; 2: unusable input."""
    parser = argparse.ArgumentParser(prog="python -m harness.accuracy.legacy", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    to_legacy = commands.add_parser("export", help="captures of ours to a legacy folder")
    to_legacy.add_argument("captures", type=Path)
    to_legacy.add_argument("out", type=Path)
    from_legacy = commands.add_parser("import", help="a legacy folder to a base that our captures can be compared with")
    from_legacy.add_argument("legacy", type=Path)
    from_legacy.add_argument("captures", type=Path, help="ours, made with the same prompts")
    from_legacy.add_argument("out", type=Path)
    from_legacy.add_argument("--allow-pickle", action="store_true", help="read arrays stored as pickles")
    options = parser.parse_args(arguments)
    try:
        if options.command == "export":
            print(f"{export_legacy(options.captures, options.out)} rows written to {options.out}")
        else:
            done = import_legacy(options.legacy, options.captures, options.out, options.allow_pickle)
            print(f"{done.num_rows} rows written to {options.out}: {done.num_unmatched} without a counterpart, "
                  f"{done.num_ambiguous} matched by order")  # fmt: skip
    except UnusableInput as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
