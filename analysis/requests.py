"""One run's requests, tokens, series, steps and logits rows as tidy frames. It measures and judges nothing."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from harness import records
from harness.measure import samples, timeline, window_series
from harness.observe import steps
from harness.records import RecordsError, RequestRecord
from harness.run_folder import ACCURACY, RECORDS, STEPS, record_folders


@dataclass
class _Points:
    """records: of a run's points by folder name, "" for a run of one rate; skipped: files that cannot be read."""

    records: dict[str, list[RequestRecord]]
    skipped: list[str]

    def with_skipped(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The frame with what is not in it in its `attrs`."""
        frame.attrs["skipped"] = self.skipped
        return frame


def load_requests(run_dir: Path | str) -> pd.DataFrame:
    """One row per request of a run folder (of every point, named in `point`), in order of index.

    Columns: point, index, prompt_id, outcome, error, output_tokens, scheduled_s, sent_s, prefill_s, first_token_s,
    ended_s (seconds after the start of the window; NaN = never, or unknown), ttft_ms and e2el_ms from the scheduled
    time (from the sent time in a closed loop, which has no schedule), tpot_ms, lateness_ms. A point whose file is
    corrupt or foreign is skipped with a warning that names it, here and in what follows; `attrs["skipped"]` lists the
    files. Raises RecordsError if there is none, or none that can be read.
    """
    points = read_points(run_dir)
    frames = [_requests(point, requests) for point, requests in points.records.items()]
    return points.with_skipped(pd.concat(frames, ignore_index=True))


def load_token_gaps(run_dir: Path | str) -> pd.DataFrame:
    """One row per gap between two chunks of a reply: point, index, time_s (when it ended), gap_ms, tokens."""
    points = read_points(run_dir)
    rows = [
        {"point": point, "index": record.index, "time_s": at_ns / 1e9, "gap_ms": gap_ms, "tokens": num_tokens}
        for point, requests in points.records.items()
        for record in requests
        for gap_ms, at_ns, num_tokens in zip(
            samples.chunk_itl_ms(record), record.chunk_times_ns[1:], record.chunk_tokens[1:], strict=True
        )
    ]
    return points.with_skipped(pd.DataFrame(rows, columns=["point", "index", "time_s", "gap_ms", "tokens"]))


def load_series(run_dir: Path | str) -> pd.DataFrame:
    """Quantities over time: point, time_s (end of the interval), metric, unit, value. Raises RecordsError.

    Of the requests, and, if the server told its steps, kv_use (share of blocks), requests_queued, decode_batch_size.
    """
    frames = []
    points = read_points(run_dir)
    for point, requests in points.records.items():
        every_s, last_s = window_series.drawn_interval_s(requests), timeline.last_s(requests)
        table = steps.read(Path(run_dir) / point / STEPS)
        for one in window_series.of_requests(requests, every_s) + window_series.of_steps(table, every_s, last_s):
            columns = {"time_s": one.times_s, "metric": one.name, "unit": one.unit, "value": one.values}
            frames.append(pd.DataFrame({"point": point, **columns}))
    nothing = pd.DataFrame(columns=["point", "time_s", "metric", "unit", "value"])
    return points.with_skipped(pd.concat(frames or [nothing], ignore_index=True))


def load_steps(run_dir: Path | str) -> pd.DataFrame:
    """One row per step of the server, of every point, columns as in harness.observe.steps, and `point`.

    Raises RecordsError for a folder without requests, FileNotFoundError if there are no steps that can be read.
    """
    points = read_points(run_dir)
    frames = []
    for point in points.records:
        path = Path(run_dir) / point / STEPS
        table = steps.read(path)
        if table is not None:
            frames.append(table.to_pandas().assign(point=point))
        elif path.exists():
            _skip(points.skipped, str(path), f"{path}: cannot be read as Parquet")
    if not frames:
        why = f"{len(points.skipped)} skipped" if points.skipped else "its server does not tell its steps"
        raise FileNotFoundError(f"{run_dir}: the run kept no {STEPS} that can be read ({why})")
    return points.with_skipped(pd.concat(frames, ignore_index=True))


def load_accuracy(run_dir: Path | str) -> pd.DataFrame:
    """One row per logits row: prompt_id, position, and what was compared. Raises FileNotFoundError if none was kept."""
    path = Path(run_dir) / ACCURACY
    if not path.is_file():
        raise FileNotFoundError(f"{path}: the run kept no table of logits rows (accuracy=none, or it ended before)")
    return pd.read_parquet(path)


def read_points(run_dir: Path | str) -> _Points:
    """The points of a run, each once. Raises RecordsError for none, or none that can be read."""
    run_dir = Path(run_dir)
    paths = [folder / RECORDS for folder in record_folders(run_dir)]
    if not paths:
        raise RecordsError(f"{run_dir / RECORDS}: no such file, nor one in a folder of a rate")
    points = _Points({}, [])
    for path in paths:
        try:
            points.records["" if path.parent == run_dir else path.parent.name] = records.read(path)[0]
        except ValueError as error:
            if len(paths) == 1:
                raise
            _skip(points.skipped, str(path), str(error))
    if not points.records:
        raise RecordsError(f"{run_dir}: none of its {len(paths)} {RECORDS} can be read")
    return points


def _skip(skipped: list[str], path: str, reason: str) -> None:
    skipped.append(path)
    warnings.warn(f"skipped: {reason}", stacklevel=3)


def _requests(point: str, requests: list[RequestRecord]) -> pd.DataFrame:
    prefill_s = {phase.index: phase.prefill_s for phase in timeline.phases(requests)}
    times_s = {
        f"{name}_s": [None if (at_ns := getattr(record, f"{name}_ns")) is None else at_ns / 1e9 for record in requests]
        for name in ("scheduled", "sent", "first_token", "ended")
    }
    starts = ["sent_ns" if record.scheduled_ns is None else "scheduled_ns" for record in requests]
    numbers = {
        **times_s,
        "prefill_s": [prefill_s.get(record.index) for record in requests],
        "ttft_ms": [samples.ttft_ms(record, since) for record, since in zip(requests, starts, strict=True)],
        "e2el_ms": [samples.e2el_ms(record, since) for record, since in zip(requests, starts, strict=True)],
        "tpot_ms": [samples.tpot_ms(record) for record in requests],
        "lateness_ms": [samples.lateness_ms(record) for record in requests],
    }
    texts = {
        "point": point,
        "index": [record.index for record in requests],
        "prompt_id": [record.prompt_id for record in requests],
        "outcome": [str(record.outcome) for record in requests],
        "error": [record.error for record in requests],
        "output_tokens": [record.output_tokens for record in requests],
    }
    return pd.DataFrame(texts | {name: pd.Series(values, dtype="float64") for name, values in numbers.items()})
