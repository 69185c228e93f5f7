"""Two runs side by side, with the harness's confidence intervals: `python -m harness.compare` as a frame."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pandas as pd

from harness.compare import comparison
from harness.compare.__main__ import pairs
from harness.run_folder import read_points


def compare_runs(a: Path | str, b: Path | str, force: bool = False) -> pd.DataFrame:
    """A row per metric and common point: point, metric, a, b, change, low, high (shares; interval of 95 %), verdict.

    `attrs["notes"]` lists what speaks against either run's figures. Raises RunFolderError if a folder cannot be
    read, or if the two did not do the same work and `force` is not set.
    """
    matched = pairs(read_points(Path(a)), read_points(Path(b)), force)
    rows = [
        {"point": point, **dataclasses.asdict(row), "verdict": row.verdict.value}
        for point, one, other in matched
        for row in comparison.compare(one.records, other.records)
    ]
    columns = ["point", "name", "a", "b", "change", "low", "high", "verdict"]
    frame = pd.DataFrame(rows, columns=columns).rename(columns={"name": "metric"})
    frame.attrs["notes"] = [
        note
        for _, one, other in matched
        for note in [
            *comparison.marks("A", one),
            *comparison.marks("B", other),
            *comparison.unlike(one, other),
            *comparison.doubts("A", one),
            *comparison.doubts("B", other),
        ]
    ]
    return frame
