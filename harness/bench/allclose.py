"""`make bench-allclose`: our comparison of logits beside the plain np.load + np.allclose loop, on the same files.

Every measurement is a process of its own, ours and the plain loop's by turns. The last line printed is JSON.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson

from harness.accuracy import Tolerance, compare_folders
from harness.accuracy.arguments import positive

VOCAB_SIZE = 32_000
ATOL = 5e-3
NOISE = 1e-4  # of the new rows, about what another order of summation makes of float32 logits


@dataclass(frozen=True)
class Case:
    """How many rows, in how many files."""

    name: str
    num_files: int
    rows_per_file: int

    @property
    def num_bytes(self) -> int:
        """Of both folders."""
        return 2 * 4 * VOCAB_SIZE * self.num_files * self.rows_per_file


ROWS_PER_FILE = 40
LARGE_ROWS = 20_000


def cases(num_rows: int) -> list[Case]:
    """The contest's 214 files of one row, and about `num_rows` rows as our server stores them."""
    return [Case("small", 214, 1), Case("large", max(1, num_rows // ROWS_PER_FILE), ROWS_PER_FILE)]


def check_room(num_bytes: int, folder: Path) -> None:
    """Exit with one line if the folder cannot hold the data."""
    if not folder.is_dir():
        raise SystemExit(f"--dir {folder}: no such folder")
    if (free := shutil.disk_usage(folder).free) < 1.1 * num_bytes:
        raise SystemExit(f"--dir {folder}: {free / 1e9:.1f} GB free, {num_bytes / 1e9:.1f} GB needed (--rows, --dir)")


def make(case: Case, folder: Path) -> None:
    """Write the case's captures under folder/base and folder/new; different rows, alike in scale to real logits."""
    random = np.random.default_rng(0)
    pool = random.normal(0, 5, (64, VOCAB_SIZE)).astype(np.float32)
    noise = random.normal(0, NOISE, (8, VOCAB_SIZE)).astype(np.float32)
    for name in ("base", "new"):
        (folder / name).mkdir()
        for index in range(case.num_files):
            rows = np.roll(pool, index, axis=1)[np.arange(index, index + case.rows_per_file) % len(pool)]
            if name == "new":
                rows = rows + noise[np.arange(case.rows_per_file) % len(noise)]
            np.save(folder / name / f"{index:04d}.npy", rows)
            description = {
                "prompt_id": f"{index:04d}", "prompt_ids": [1], "generated_ids": list(range(case.rows_per_file)),
                "positions": list(range(case.rows_per_file)), "batch_sizes": [8] * case.rows_per_file,
            }  # fmt: skip
            (folder / name / f"{index:04d}.json").write_bytes(orjson.dumps(description))


def plain(folder: Path) -> bool:
    """The loop to beat."""
    return all(
        np.allclose(np.load(folder / "new" / path.name), np.load(path), atol=ATOL)
        for path in sorted((folder / "base").glob("*.npy"))
    )


def ours(folder: Path, quick: bool) -> bool:
    """Our comparison; quick leaves out the distribution's figures, which the plain loop has not either."""
    return (
        compare_folders(folder / "base", folder / "new", Tolerance(ATOL, quick=quick)).metrics.allclose_pass_rate == 1
    )


METHODS: dict[str, Callable[[Path], bool]] = {
    "plain": plain,
    "quick": lambda folder: ours(folder, quick=True),
    "full": lambda folder: ours(folder, quick=False),
}


def measure_here(method: str, folder: Path) -> dict[str, float]:
    """Run one method once in this process: seconds, and peak resident memory above what was there before."""
    before, begin, begin_cpu = peak_mb(), time.perf_counter(), time.process_time()
    if not METHODS[method](folder):
        raise SystemExit(f"{method}: found rows of {folder} that are not close")
    seconds, cpu = time.perf_counter() - begin, time.process_time() - begin_cpu
    return {"seconds": seconds, "cpu_seconds": cpu, "peak_mb": peak_mb(), "above_start_mb": peak_mb() - before}


def peak_mb() -> float:
    """This process's peak resident memory so far, mapped file pages included."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6


def measure(method: str, folder: Path) -> dict[str, float]:
    """The same in a fresh process."""
    command = [sys.executable, "-m", "harness.bench.allclose", "--measure", method, str(folder)]
    root = Path(__file__).parents[2]
    result: dict[str, float] = orjson.loads(subprocess.run(command, check=True, capture_output=True, cwd=root).stdout)
    return result


def memory_bandwidth_gb_per_s() -> float:
    """How fast all cores together read memory (NumPy's maximum over 400 MB, best of five)."""
    halves = [np.ones(50_000_000, np.float32) for _ in range(2)]
    best = 0.0
    with ThreadPoolExecutor(len(halves)) as pool:
        for _ in range(5):
            begin = time.perf_counter()
            list(pool.map(np.max, halves))
            best = max(best, sum(half.nbytes for half in halves) / (time.perf_counter() - begin) / 1e9)
    return best


def bench(case: Case, repetitions: int, parent: Path) -> dict[str, float]:
    """Measure one case; figures are medians over the repetitions."""
    with tempfile.TemporaryDirectory(dir=parent) as name:
        folder = Path(name)
        make(case, folder)
        for path in folder.rglob("*.npy"):
            np.load(path)  # so that every method finds the files in the page cache
        runs: dict[str, list[dict[str, float]]] = {method: [] for method in METHODS}
        for _ in range(repetitions):
            for method, results in runs.items():
                results.append(measure(method, folder))
    seconds = {method: statistics.median(run["seconds"] for run in results) for method, results in runs.items()}
    num_rows = case.num_files * case.rows_per_file
    print(f"\n{case.name}: {num_rows} rows of {VOCAB_SIZE} float32 in {case.num_files} files on each side, "
          f"{case.num_bytes / 1e9:.2f} GB in all, page cache warm, {repetitions} runs each, medians")  # fmt: skip
    row = {f"{case.name}_gb": case.num_bytes / 1e9}
    cpu = {method: statistics.median(run["cpu_seconds"] for run in results) for method, results in runs.items()}
    for method, results in runs.items():
        rate = case.num_bytes / seconds[method] / 1e9
        every = " ".join(f"{run['seconds']:.3f}" for run in results)
        peak = max(run["peak_mb"] for run in results)
        above = max(run["above_start_mb"] for run in results)
        print(f"  {method:6} {seconds[method]:7.3f} s  {rate:6.2f} GB/s  {seconds['plain'] / seconds[method]:5.2f}x  "
              f"CPU {cpu[method]:6.2f} s {cpu['plain'] / cpu[method]:5.2f}x  "
              f"peak {peak:.0f} MB ({above:.0f} above start)   all: {every}")  # fmt: skip
        row |= {
            f"{case.name}_{method}_s": seconds[method],
            f"{case.name}_{method}_gb_per_s": rate,
            f"{case.name}_{method}_peak_mb": peak,
            f"{case.name}_{method}_speedup": seconds["plain"] / seconds[method],
            f"{case.name}_{method}_cpu_speedup": cpu["plain"] / cpu[method],
        }
    return row


def main(arguments: list[str]) -> int:
    """Measure all cases."""
    parser = argparse.ArgumentParser(prog="python -m harness.bench.allclose", description=__doc__)
    parser.add_argument("--measure", nargs=2, metavar=("METHOD", "FOLDER"), help="one method once, as JSON")
    parser.add_argument("--repetitions", type=positive, default=5)
    parser.add_argument("--rows", type=positive, default=LARGE_ROWS, help="of the large case (default: %(default)s)")
    parser.add_argument("--dir", type=Path, default=Path(tempfile.gettempdir()),
                        help="holds the data while it runs, 256 kB per row (default: %(default)s)")  # fmt: skip
    options = parser.parse_args(arguments)
    if options.measure:
        print(orjson.dumps(measure_here(options.measure[0], Path(options.measure[1]))).decode())
        return 0
    figures: dict[str, float] = {}
    check_room(max(case.num_bytes for case in cases(options.rows)), options.dir)
    for case in cases(options.rows):
        figures |= bench(case, options.repetitions, options.dir)
    bandwidth = memory_bandwidth_gb_per_s()
    share = figures["large_quick_gb_per_s"] / bandwidth
    print(f"\nall cores read memory at {bandwidth:.1f} GB/s: the quick comparison reaches {share:.0%} of it, "
          f"with each of the {figures['large_gb']:.2f} GB read once")  # fmt: skip
    figures |= {"memory_gb_per_s": bandwidth, "large_quick_share_of_memory_bandwidth": share}
    print(orjson.dumps({name: round(value, 4) for name, value in figures.items()}).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
