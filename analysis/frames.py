"""Reads run folders into tidy frames. Units are in the column names. It measures and judges nothing."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pandas as pd

from harness import records
from harness.records import RecordsError


def load_runs(outputs: Path | str = "outputs") -> pd.DataFrame:
    """One row per run folder below `outputs`, oldest first: the flat figures of its metrics.json and `run_dir`.

    A folder whose metrics.json cannot be read is skipped with a warning that names it. Raises FileNotFoundError if
    there is no run at all.
    """
    rows = []
    for path in sorted(Path(outputs).glob("**/metrics.json"), key=lambda found: found.stat().st_mtime):
        if "latest" in path.relative_to(outputs).parts:
            continue
        try:
            rows.append({"run_dir": str(path.parent), **json.loads(path.read_text())})
        except (OSError, ValueError) as error:
            warnings.warn(f"{path}: skipped, cannot be read ({error})", stacklevel=2)
    if not rows:
        raise FileNotFoundError(f"{outputs}: no run folder with a readable metrics.json below it")
    return pd.DataFrame(rows)


def load_requests(run_dir: Path | str) -> pd.DataFrame:
    """One row per request of a run folder, in order of index.

    Columns: index, prompt_id, outcome, error, output_tokens, scheduled_s, sent_s, first_token_s, ended_s (seconds after
    the start of the window; NaN = never), ttft_ms and e2el_ms from the scheduled time (from the sent time in a closed
    loop, which has no schedule), lateness_ms. Raises RecordsError for a missing, corrupt or foreign file.
    """
    found, _ = records.read(Path(run_dir) / "records.parquet")
    frame = pd.DataFrame(
        {
            "index": [record.index for record in found],
            "prompt_id": [record.prompt_id for record in found],
            "outcome": [str(record.outcome) for record in found],
            "error": [record.error for record in found],
            "output_tokens": [record.output_tokens for record in found],
            **{
                f"{name}_s": pd.Series([getattr(record, f"{name}_ns") for record in found], dtype="float64") / 1e9
                for name in ("scheduled", "sent", "first_token", "ended")
            },
        }
    )
    since_s = frame["scheduled_s"].fillna(frame["sent_s"])
    frame["ttft_ms"] = (frame["first_token_s"] - since_s) * 1e3
    frame["e2el_ms"] = (frame["ended_s"] - since_s) * 1e3
    frame["lateness_ms"] = (frame["sent_s"] - frame["scheduled_s"]) * 1e3
    return frame


__all__ = ["RecordsError", "load_requests", "load_runs"]
