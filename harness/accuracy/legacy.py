"""The 2024 contest's folders of logits, to and from ours. It compares nothing.

There, one file holds one row and is called <time>_<seq>_<idx>.npy: `time` is the clock's, `seq` the first 20 characters
of the prompt's token ids joined (as floats, `1.020355.0915.0278.0`, for a decode row, as integers for a prefill row),
`idx` the absolute position of the token just fed, a multiple of 100. Rows are float32 [1, 1, vocab] for decode and
[1, vocab] for prefill; old baselines hold them as pickled object arrays. Prompts that begin alike share a key, so only
the order of the times tells them apart: that order is taken to be the prompts' own.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import orjson

from harness.accuracy.arguments import non_negative
from harness.accuracy.capture import Capture, order_of, read_folder
from harness.accuracy.compare import Comparison, Tolerance, compare_folders
from harness.accuracy.errors import UnusableInput
from harness.accuracy.legacy_row import load_row
from harness.accuracy.manifest import add_to_manifest
from harness.accuracy.metrics import meets_bar
from harness.accuracy.sentence import describe

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


def in_order(captures: dict[str, Capture]) -> list[Capture]:
    """As the prompts were sent: the contest's files differ in nothing but their time where prompts begin alike."""
    return [captures[name] for name in sorted(captures, key=order_of)]


def export_legacy(captures: Path, out: Path) -> int:
    """Write the rows at positions divisible by 100 under legacy names into a new folder; returns how many.

    The organisers' script then finds the same names, but for the time, and the same count as in its own folder.

    Raises UnusableInput if the captures can't be read, hold no such row, or `out` already holds files.
    """
    count = 0
    with _new_folder(out) as partial:
        for capture in in_order(read_folder(captures)):
            rows = np.load(capture.logits.path, mmap_mode="r")
            for index, position in enumerate(capture.positions):
                if position % EVERY == 0:
                    seq, idx = key_of(capture, position)
                    row = np.array(rows[index], np.float32)[np.newaxis]
                    decode = position >= len(capture.prompt_ids)
                    np.save(partial / f"{FIRST_TIME + count}.0_{seq}_{idx}.npy", row[np.newaxis] if decode else row)
                    count += 1
        if count == 0:
            raise UnusableInput(captures, f"holds no row at a position divisible by {EVERY}")
    return count


def import_legacy(legacy: Path, captures: Path, out: Path, allow_pickle: bool = False) -> ImportedFolder:
    """Write a legacy folder as a base for `captures` (which know the prompts' tokens) into the new folder `out`.

    The contest kept no tokens: what it wrote is taken to be what `captures` wrote, and its own choices are not known.

    Raises UnusableInput naming the file for a wrong name, an unreadable array, or pickled objects without allow_pickle.
    """
    ours = read_folder(captures)
    wanted: dict[Key, list[str]] = defaultdict(list)
    for capture in in_order(ours):
        for position in capture.positions:
            wanted[key_of(capture, position)].append(capture.prompt_id)
    rows: dict[str, dict[int, Path]] = defaultdict(dict)
    num_unmatched = num_ambiguous = 0
    files = read_names(legacy)
    for (seq, idx), paths in files.items():
        prompt_ids = wanted.get((seq, idx), [])
        num_ambiguous += len(paths) if len(prompt_ids) > 1 else 0
        num_unmatched += max(0, len(paths) - len(prompt_ids))
        for number, path in enumerate(paths):
            name = prompt_ids[number] if number < len(prompt_ids) else f"unmatched-{seq}-{number}"
            rows[name][idx] = path
    done = ImportedFolder(sum(map(len, files.values())), num_unmatched, num_ambiguous)
    about = {"method": "imported from a contest folder", "folder": str(legacy.resolve()), "allow_pickle": allow_pickle}
    with _new_folder(out) as partial:
        for name, paths_by_position in rows.items():
            _write(partial, name, ours.get(name), paths_by_position, allow_pickle)
        add_to_manifest(partial, about | asdict(done))
    return done


def compare_legacy(
    legacy: Path, captures: Path, tolerance: Tolerance, allow_pickle: bool = False
) -> tuple[Comparison, ImportedFolder]:
    """Compare captures of ours with a legacy folder, at the positions that it has. Raises UnusableInput."""
    with tempfile.TemporaryDirectory() as folder:
        done = import_legacy(legacy, captures, Path(folder) / "base", allow_pickle)
        return compare_folders(Path(folder) / "base", captures, replace(tolerance, every=EVERY)), done


def read_names(folder: Path) -> dict[Key, list[Path]]:
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
        "chosen_ids": None,
        "positions": positions,
        "batch_sizes": [1] * len(positions),
    }
    (out / f"{name}.json").write_bytes(orjson.dumps(description))


@contextlib.contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """A folder to fill that becomes `out` once it is full, and nothing if it never is. Raises UnusableInput."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UnusableInput(out, "must be a new or empty folder")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise UnusableInput(out, f"cannot be made ({error.strerror})") from error
    try:
        yield partial
        partial.chmod(0o755)
        partial.replace(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def main(arguments: list[str]) -> int:
    """Exit status 0: written, or the comparison passes; 1: it fails; 2: unusable input."""
    parser = argparse.ArgumentParser(prog="python -m harness.accuracy.legacy", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    exporting = commands.add_parser("export", help="captures of ours to a legacy folder")
    exporting.add_argument("captures", type=Path)
    exporting.add_argument("out", type=Path)
    importing = commands.add_parser("import", help="a legacy folder to a base that our captures can be compared with")
    comparing = commands.add_parser("compare", help="captures of ours with a legacy folder")
    for command in (importing, comparing):
        command.add_argument("legacy", type=Path)
        command.add_argument("captures", type=Path, help="ours, made with the same prompts")
        command.add_argument("--allow-pickle", action="store_true", help="read arrays stored as pickles")
    importing.add_argument("out", type=Path)
    comparing.add_argument("--atol", type=non_negative, default=Tolerance().atol)
    comparing.add_argument("--rtol", type=non_negative, default=Tolerance().rtol)
    options = parser.parse_args(arguments)
    try:
        return _COMMANDS[options.command](options)
    except UnusableInput as error:
        print(error, file=sys.stderr)
        return 2


def _export(options: argparse.Namespace) -> int:
    print(f"{export_legacy(options.captures, options.out)} rows written to {options.out}")
    return 0


def _import(options: argparse.Namespace) -> int:
    done = import_legacy(options.legacy, options.captures, options.out, options.allow_pickle)
    print(f"{done.num_rows} rows written to {options.out}: {_matched(done)}")
    return 0


def _compare(options: argparse.Namespace) -> int:
    tolerance = Tolerance(options.atol, options.rtol)
    comparison, done = compare_legacy(options.legacy, options.captures, tolerance, options.allow_pickle)
    passed = meets_bar(comparison.metrics, 1.0)
    print("\n".join(["PASS" if passed else "FAIL", *describe(comparison.metrics), _matched(done)]))
    return 0 if passed else 1


def _matched(done: ImportedFolder) -> str:
    return f"{done.num_unmatched} without a counterpart, {done.num_ambiguous} matched by order"


_COMMANDS = {"export": _export, "import": _import, "compare": _compare}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
