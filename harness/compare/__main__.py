"""Is one run faster than another? `python -m harness.compare RUN_A RUN_B`, of run folders or MLflow run ids.

Exit status: 0 = nothing got worse beyond chance, 1 = something did (or B's accuracy or accounting failed), 2 = the runs
cannot be compared. The intervals know the variation inside each run, not that from one run to the next: a machine that
was slower today looks like a slower server.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from harness.compare import comparison
from harness.compare.comparison import MIN_CHANGE, Row, Verdict
from harness.run_folder import RunFolderError, StoredPoint, read_points
from harness.tracking.errors import NotTracked, TrackingUnavailable
from harness.tracking.query import run_folder
from harness.tracking.store import default_uri

_STYLES = {Verdict.faster: "green", Verdict.slower: "red", Verdict.no_evidence: ""}


def resolve(name: str, uri: str, scratch: Path) -> Path:
    """A folder as it is; anything else is taken for an MLflow run id, whose files are fetched into `scratch`."""
    if Path(name).is_dir():
        return Path(name)
    try:
        return run_folder(name, scratch, uri)
    except (NotTracked, TrackingUnavailable) as error:
        raise RunFolderError(str(error)) from None


def pairs(
    a: dict[str, StoredPoint], b: dict[str, StoredPoint], force: bool
) -> list[tuple[str, StoredPoint, StoredPoint]]:
    """Points of both runs with the same workload. Raises RunFolderError if there is none, or if they differ."""
    if len(a) == len(b) == 1:
        matched = [(next(iter(a)), next(iter(a.values())), next(iter(b.values())))]
    else:
        matched = [(label, a[label], b[label]) for label in a if label in b]
    if not matched:
        raise RunFolderError(f"the runs have no point in common: {', '.join(a)} and {', '.join(b)}")
    for label, one, other in matched:
        unlike = comparison.unlike(one, other)
        if unlike and not force:
            raise RunFolderError(f"{label}: {'; '.join(unlike)}: not the same work (--force compares all the same)")
    return matched


def show(label: str, rows: list[Row], notes: list[str], console: Console) -> None:
    """Print one point's table."""
    table = Table(title=f"{label}: B against A", title_justify="left", caption="\n".join(notes) or None)
    table.caption_justify = "left"
    for name in ("metric", "A", "B", "difference", "95 % interval", "verdict"):
        table.add_column(name, justify="left" if name in ("metric", "verdict") else "right")
    for row in rows:
        table.add_row(
            row.name,
            f"{row.a:.4g}",
            f"{row.b:.4g}",
            f"{row.change:+.1%}",
            f"{row.low:+.1%} … {row.high:+.1%}",
            f"[{_STYLES[row.verdict]}]{row.verdict}[/]" if _STYLES[row.verdict] else row.verdict.value,
        )
    console.print(table)


def run(options: argparse.Namespace, console: Console) -> int:
    """Compare and print; the exit status. Raises RunFolderError."""
    uri = options.uri or default_uri(options.outputs)
    with tempfile.TemporaryDirectory() as scratch:
        a, b = (read_points(resolve(getattr(options, side), uri, Path(scratch) / side)) for side in "ab")
        matched = pairs(a, b, options.force)
        worse = False
        for label, one, other in matched:
            rows = comparison.compare(one.records, other.records, options.min_change)
            notes = [*comparison.marks("A", one), *comparison.marks("B", other)]
            notes += [f"forced: {text}" for text in comparison.unlike(one, other)]
            notes += [*comparison.doubts("A", one), *comparison.doubts("B", other)]
            show(label, rows, notes, console)
            worse |= any(row.verdict is Verdict.slower for row in rows) or bool(comparison.marks("B", other))
    console.print("verdict: " + ("B is worse than A" if worse else "nothing got worse beyond chance"))
    return 1 if worse else 0


def main(arguments: list[str] | None = None) -> int:
    """Parse and run; 2 in one line for runs that cannot be compared."""
    parser = argparse.ArgumentParser(prog="python -m harness.compare", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("a", metavar="RUN_A", help="run folder or MLflow run id: the one before")
    parser.add_argument("b", metavar="RUN_B", help="run folder or MLflow run id: the one after")
    parser.add_argument("--force", action="store_true", help="compare runs of unlike workloads all the same")
    parser.add_argument("--min-change", type=float, default=MIN_CHANGE, help="smaller differences are not judged")
    parser.add_argument("--uri", default="", help="MLflow tracking URI, for run ids (default: the file in outputs)")
    parser.add_argument("--outputs", type=Path, default=Path("outputs"), help="folder of the default SQLite file")
    options = parser.parse_args(arguments)
    try:
        return run(options, Console())
    except RunFolderError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
