"""`python -m harness.accuracy BASE NEW`: compare two folders of captured logits.

Exit status 0: pass; 1: fail; 2: the input cannot be compared.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

import orjson
from rich.console import Console
from rich.progress import Progress

from harness.accuracy.arguments import non_negative, positive, share
from harness.accuracy.compare import Tolerance, compare_folders
from harness.accuracy.errors import UnusableInput
from harness.accuracy.metrics import meets_bar
from harness.accuracy.rows_file import write_rows
from harness.accuracy.sentence import describe
from harness.accuracy.ulp import ServedDtype


def parse(arguments: list[str]) -> argparse.Namespace:
    """Command line to namespace; argparse itself exits with 2 on a bad one."""
    parser = argparse.ArgumentParser(prog="python -m harness.accuracy", description=__doc__.splitlines()[0])
    parser.add_argument("base", type=Path, help="folder of the reference: <prompt_id>.npy and <prompt_id>.json")
    parser.add_argument("new", type=Path, help="folder to judge")
    parser.add_argument("--atol", type=non_negative, default=5e-3, help="absolute tolerance (default: %(default)s)")
    parser.add_argument(
        "--rtol", type=non_negative, default=1e-5, help="tolerance per unit of |base| (default: %(default)s)"
    )
    parser.add_argument("--min-pass-rate", type=share, default=1.0, help="share of rows that must pass (default: all)")
    parser.add_argument("--bit-exact", action="store_true", help="demand equal bits instead of closeness")
    parser.add_argument("--dtype", type=ServedDtype, default=ServedDtype.float32, choices=list(ServedDtype),
                        help="dtype the model computed in, for distances in units in the last place")  # fmt: skip
    parser.add_argument("--every", type=positive, default=1, help="judge rows at positions divisible by this only")
    parser.add_argument("--rows", type=Path, metavar="FILE", help="write every row's figures to this Parquet file")
    parser.add_argument("--quick", action="store_true", help="allclose, largest and mean difference only")
    parser.add_argument("--workers", type=int, default=0, help="threads (default: one per core)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON instead of words")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Compare, print, and return the exit status."""
    options = parse(arguments)
    tolerance = Tolerance(options.atol, options.rtol, options.dtype, options.quick, options.every)
    try:
        with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
            task = progress.add_task("rows compared", total=None)
            comparison = compare_folders(
                options.base,
                options.new,
                tolerance,
                options.workers,
                lambda done, total: progress.update(task, completed=done, total=total),
            )
        if options.rows:
            write_rows(options.rows, comparison.table)
    except (UnusableInput, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    passed = meets_bar(comparison.metrics, options.min_pass_rate, options.bit_exact)
    if options.json:
        print(orjson.dumps({"passed": passed, **asdict(comparison.metrics)}).decode())
    else:
        print("\n".join([("PASS" if passed else "FAIL"), *describe(comparison.metrics, options.bit_exact)]))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
