"""`make bench-tracking`: what logging a run to MLflow costs after it ended, batched as we do it and value by value.

1,500 requests and ten minutes of series (four of requests, three of 24,000 steps, ten of the machine), 150 parameters
and 150 metrics, into a SQLite file. Value by value takes long, so a share is logged and scaled. The last line of the
output is one line of JSON: medians in seconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from harness import time_series
from harness.config import TrackingConfig
from harness.measure import window_series
from harness.observe import steps
from harness.records import Outcome, RequestRecord
from harness.run_folder import SERIES, STEPS, TELEMETRY
from harness.time_series import TimeSeries
from harness.tracking import client as mlflow_client
from harness.tracking.tracked_run import RunStatus, TrackedRun
from harness.tracking.tracker import Tracker, open_tracker

ROUNDS = 5
NUM_REQUESTS, WINDOW_S = 1500, 600
SHARE = 50  # one value in so many is logged singly
_MS = 1_000_000


def requests() -> list[RequestRecord]:
    """Evenly sent, 20 tokens each."""
    found = []
    for index in range(NUM_REQUESTS):
        sent_ns = round(index * WINDOW_S / NUM_REQUESTS * 1e9)
        times = [sent_ns + (50 + 20 * number) * _MS for number in range(20)]
        found.append(
            RequestRecord(
                index, str(index), Outcome.finished, 20, scheduled_ns=sent_ns, sent_ns=sent_ns, ended_ns=times[-1],
                output_tokens=20, chunk_times_ns=times, chunk_tokens=[1] * 20,
            )
        )  # fmt: skip
    return found


def telemetry() -> list[TimeSeries]:
    """Ten quantities, twice a second."""
    names = [f"{kind}.process-{number}" for kind in ("cpus", "memory_mb") for number in range(5)]
    times_s = np.arange(2 * WINDOW_S) / 2
    return [TimeSeries(name, "", times_s, np.ones(len(times_s))) for name in names]


def step_table() -> pa.Table:
    """A decode step every 25 ms."""
    count = WINDOW_S * 40
    columns = {name: [1] * count for name in ("num_seqs", "num_waiting", "kv_blocks_used")}
    constant = {"agent": [0] * count, "kind": ["decode"] * count, "step_ns": [25 * _MS] * count}
    ends = {"ended_s": [number / 40 for number in range(count)], "kv_blocks_total": [512] * count}
    return pa.table({**columns, **constant, **ends})


def batched_s(tracker: Tracker, folder: Path, found: list[RequestRecord], run: TrackedRun) -> float:
    """From the records in memory to everything in the store, as after a run."""
    folder.mkdir()
    time_series.write(folder / TELEMETRY, telemetry())
    steps.write(folder / STEPS, step_table())
    begin = time.perf_counter()
    window_series.write(folder, found, folder / TELEMETRY)
    tracker.log_run(folder, run)
    return time.perf_counter() - begin


def singly_s(tracker: Tracker, folder: Path, run: TrackedRun) -> tuple[float, int]:
    """The same values, one call each: (seconds, scaled from a share; number of values)."""
    client = mlflow_client.connect(tracker.uri)
    run_id = tracker.log_run(folder, TrackedRun("singly", 0, 0, RunStatus.finished)).run_id
    samples = [
        (one.name, value, int(time_s))
        for one in time_series.read(folder.parent / "0" / SERIES)
        for time_s, value in zip(one.times_s.tolist(), one.values.tolist(), strict=True)
    ]
    begin = time.perf_counter()
    for name, value, step in samples[::SHARE]:
        client.log_metric(run_id, name, value, step=step)
    for name, text in list(run.params.items())[::SHARE]:
        client.log_param(run_id, name, text)
    return (time.perf_counter() - begin) * SHARE, len(samples)


def main() -> None:
    """Measure both in turn and print the medians."""
    argparse.ArgumentParser(prog="python -m harness.bench.tracking", description=__doc__).parse_args()
    found = requests()
    run = TrackedRun(
        "bench", 0, WINDOW_S * 1000, RunStatus.finished, series=SERIES,
        params={f"serving.key_{number}": str(number) for number in range(150)},
        metrics={f"metric_{number}": float(number) for number in range(150)},
    )  # fmt: skip
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as scratch:
        outputs = Path(scratch)
        tracker = open_tracker(TrackingConfig(), outputs)
        assert tracker is not None
        tracker.warm()
        num_values = 0
        for number in range(ROUNDS):
            ours.append(batched_s(tracker, outputs / str(number), found, run))
            (outputs / f"singly-{number}").mkdir()
            seconds, num_values = singly_s(tracker, outputs / f"singly-{number}", run)
            theirs.append(seconds)
            print(f"round {number}: batched {ours[-1]:.2f} s, value by value {seconds:.1f} s", flush=True)
    figures = {
        "bench": "tracking",
        "requests": NUM_REQUESTS,
        "series_values": num_values,
        "batched_s": round(statistics.median(ours), 3),
        "value_by_value_s": round(statistics.median(theirs), 1),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
