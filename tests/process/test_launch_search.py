"""Searches through launch.py: one warm server, a folder and an MLflow child per window, one answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient
from test_launch import Launch, assert_accounted, assert_nothing_left, metrics_of, shm_before

from harness import records

__all__ = ["shm_before"]
pytestmark = pytest.mark.process


def test_slo_search_brackets_the_rate_and_tracks_every_window(tmp_path: Path, shm_before: set[str]) -> None:
    # Batch 1, 10 ms a step and 16 tokens a request: about 6 requests/s is what it can do, whatever the machine.
    launch = Launch(
        tmp_path, "experiment=smoke", "accuracy=none", "device.arithmetic_step_ms=10", "serving.batch.decode=1",
        "workload.search.mode=slo", "workload.slos.server.ttft_ms=1000", "workload.search.start_rate=3",
        "workload.search.tolerance=1", "workload.search.max_windows=4", "workload.arrivals.duration_s=4",
        "workload.dataset.lengths_path=''",
    )  # fmt: skip
    launch.child("serving.frontend")
    code, output = launch.wait()
    assert code == 0, output
    row, kept = metrics_of(launch.run_dir), json.loads((launch.run_dir / "search.json").read_text())
    assert_accounted(row)
    assert float(str(row["search_rate"])) < 8 and float(str(row["search_upper_rate"])) > 5
    assert kept["search_text"] == row["search_text"]
    assert " ".join(str(row["search_text"]).split()) in " ".join(output.split())
    folders = sorted(path.parent for path in launch.run_dir.glob("window-*/records.parquet"))
    assert len(folders) == row["search_windows"] == sum(step["num_windows"] for step in kept["steps"]) >= 2
    for folder in folders:
        assert {path.name for path in folder.iterdir()} >= {
            "records.parquet", "schedule.json", "server_stats.json", "telemetry.parquet",
        }  # fmt: skip
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name("plumbline")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    parent = next(run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert {float(run.data.params["workload.arrivals.rate"]) for run in children} == {s["rate"] for s in kept["steps"]}
    assert len(children) == len(folders)
    assert parent.data.metrics["search_rate"] == row["search_rate"]
    assert_nothing_left(launch, shm_before)


def test_saturation_sweep_stops_when_throughput_does(tmp_path: Path) -> None:
    launch = Launch(
        tmp_path, "experiment=smoke", "accuracy=none", "tracking=none", "device.arithmetic_step_ms=10",
        "serving.batch.decode=1", "workload.search.mode=saturation", "workload.search.start_rate=20",
        "workload.search.max_windows=6", "workload.arrivals.duration_s=1", "workload.dataset.lengths_path=''",
        "workload.dataset.max_new_tokens=8",
    )  # fmt: skip
    code, output = launch.wait()
    assert code == 0, output
    row = metrics_of(launch.run_dir)
    assert row["search_sure"] is True
    assert "is enough for it" in str(row["search_text"])
    kept, _ = records.read(next(launch.run_dir.glob("window-01_x20/records.parquet")))
    assert len(kept) == 20
