"""launch.py as a user runs it, with the arithmetic model: real processes, real HTTP, real files."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient

from harness import records
from harness.records import Outcome

ROOT = Path(__file__).parents[2]
SHM = Path("/dev/shm")
pytestmark = pytest.mark.process


class Launch:
    """A running launch.py and all that it started."""

    def __init__(self, outputs: Path, *overrides: str) -> None:
        self.outputs = outputs
        self.process = subprocess.Popen(
            [sys.executable, "launch.py", *overrides, f"outputs_dir={outputs}"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.seen: dict[str, psutil.Process] = {}

    @property
    def run_dir(self) -> Path:
        return (self.outputs / "latest").resolve()

    def wait(self, timeout_s: float = 120) -> tuple[int, str]:
        output, _ = self.process.communicate(timeout=timeout_s)
        return self.process.returncode, output

    def child(self, module: str, timeout_s: float = 60) -> psutil.Process:
        """The child that runs `python -m module`, as soon as it does."""
        parent = psutil.Process(self.process.pid)
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for child in parent.children(recursive=True):
                try:
                    command = child.cmdline()
                except psutil.Error:
                    continue
                self.seen[" ".join(command)] = child
                if module in command:
                    return child
            time.sleep(0.05)
        raise AssertionError(f"no child runs {module} after {timeout_s} s")

    def until_load(self) -> None:
        """Return once the timed window has begun: its spool has something in it."""
        self.child("harness.load.worker")
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if (
                any(path.stat().st_size for path in self.outputs.glob("latest/spool/*.frames"))
                and (self.run_dir / "schedule.json").exists()
            ):
                return
            time.sleep(0.05)
        raise AssertionError("the timed window did not begin")


@pytest.fixture
def shm_before() -> set[str]:
    return {path.name for path in SHM.iterdir()}


@pytest.fixture
def long_run(tmp_path: Path) -> Iterator[Launch]:
    """A run whose load would take a minute."""
    launch = Launch(tmp_path, "experiment=smoke", "tracking=none", "workload.arrivals.duration_s=60")
    yield launch
    if launch.process.poll() is None:
        os.killpg(launch.process.pid, signal.SIGKILL)
        launch.process.wait()


def metrics_of(run_dir: Path) -> dict[str, object]:
    row = json.loads((run_dir / "metrics.json").read_text())
    assert isinstance(row, dict)
    return row


def assert_accounted(row: dict[str, object]) -> None:
    ends = ("finished", "rejected", "failed", "timed_out", "cancelled", "lost")
    assert row["requests_total"] == sum(int(str(row[f"requests_{end}"])) for end in ends)


def assert_nothing_left(launch: Launch, shm_before: set[str]) -> None:
    _, alive = psutil.wait_procs(list(launch.seen.values()), timeout=5)
    assert not alive, [process.cmdline() for process in alive]
    assert {path.name for path in SHM.glob("plumbline-*")} <= shm_before
    assert not list(launch.outputs.rglob("*.part*"))


def test_smoke_run_passes_and_is_tracked(tmp_path: Path, shm_before: set[str]) -> None:
    launch = Launch(tmp_path, "experiment=smoke")
    launch.child("serving.frontend")
    launch.child("serving.agent")
    code, output = launch.wait()
    assert code == 0, output
    row = metrics_of(launch.run_dir)
    assert row["requests_total"] == row["requests_finished"] == 20
    assert_accounted(row)
    assert row["allclose_pass_rate"] == 1.0 and int(str(row["allclose_rows_total"])) >= 8
    assert row["complete"] is True and row["verdict"] == "pass"
    assert float(str(row["total_time_s"])) >= float(str(row["arrival_floor_s"])) > 1.8
    assert "20 = 20 finished + 0 rejected + 0 failed + 0 cancelled" in output
    kept, about = records.read(launch.run_dir / "records.parquet")
    assert [record.index for record in kept] == list(range(20))
    assert all(record.output_tokens == record.max_new_tokens for record in kept)
    assert about["schedule_hash"] == row["schedule_hash"] == json.loads(
        (launch.run_dir / "schedule.json").read_text()
    )["hash"]  # fmt: skip
    assert_nothing_left(launch, shm_before)

    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name("plumbline")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.metrics["allclose_pass_rate"] == 1.0
    assert run.data.metrics["requests_finished"] == 20
    assert run.data.params["serving.batch.decode"] == "8"
    assert run.data.tags["verdict"] == "pass"
    use = [point.value for point in client.get_metric_history(run.info.run_id, "series.kv_use")]
    assert 0 < max(use) <= float(str(row["server_kv_use_max"])) < 1
    assert "KV use over time" in (launch.run_dir / "report.html").read_text()
    assert {"metrics.json", "records.parquet", "config.yaml", "schedule.json", "frontend.log"} <= {
        artifact.path for artifact in client.list_artifacts(run.info.run_id)
    }


def test_multirun_gives_one_parent_with_a_child_per_variant(tmp_path: Path) -> None:
    overrides = ["-m", "experiment=smoke", "serving.batch.decode=1,4", "accuracy=none", "workload.arrivals.rate=20"]
    launch = Launch(tmp_path, *overrides, "workload.arrivals.duration_s=0.5", "serving.http.api_key=not-for-files")
    code, output = launch.wait()
    assert code == 0, output
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert kept and not [path for path in kept if b"not-for-files" in path.read_bytes()]
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name("plumbline")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parents[0].info.run_id]
    assert len(parents) == 1 and len(children) == 2
    assert parents[0].info.status == "FINISHED"
    assert {run.data.params["serving.batch.decode"] for run in children} == {"1", "4"}
    assert all(run.data.metrics["requests_finished"] == 10 for run in children)
    assert len({run.data.tags["config_digest"] for run in children}) == 2
    assert len({run.data.tags["schedule_hash"] for run in children}) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupt_keeps_what_was_gathered(long_run: Launch, shm_before: set[str], number: signal.Signals) -> None:
    long_run.until_load()
    long_run.child("serving.frontend")
    long_run.child("serving.agent")
    began = time.monotonic()
    long_run.process.send_signal(number)
    code, output = long_run.wait(15)
    assert code == 130, output
    assert time.monotonic() - began < 10
    row = metrics_of(long_run.run_dir)
    assert row["complete"] is False and "Ctrl-C" in str(row["incomplete_reason"])
    assert row["requests_total"] == 600 and int(str(row["requests_finished"])) > 0
    assert_accounted(row)
    assert len(records.read(long_run.run_dir / "records.parquet")[0]) == 600
    assert_nothing_left(long_run, shm_before)


@pytest.mark.parametrize("module", ["serving.frontend", "serving.agent"])
def test_killed_process_ends_the_run_with_its_name(long_run: Launch, shm_before: set[str], module: str) -> None:
    long_run.until_load()
    victim = long_run.child(module)
    long_run.child("serving.frontend")
    long_run.child("serving.agent")
    began = time.monotonic()
    victim.kill()
    code, output = long_run.wait(15)
    assert code == 3, output
    assert time.monotonic() - began < 10
    row = metrics_of(long_run.run_dir)
    assert row["complete"] is False and "was killed by SIGKILL" in str(row["incomplete_reason"]), row
    assert int(str(row["requests_finished"])) > 0
    assert_accounted(row)
    kept, _ = records.read(long_run.run_dir / "records.parquet")
    assert {record.outcome for record in kept} <= {Outcome.finished, Outcome.failed, Outcome.cancelled}
    assert_nothing_left(long_run, shm_before)


def test_killed_launch_takes_its_processes_with_it(long_run: Launch, shm_before: set[str]) -> None:
    long_run.until_load()
    long_run.child("serving.frontend")
    long_run.child("serving.agent")
    long_run.process.kill()
    long_run.process.wait()
    assert_nothing_left(long_run, shm_before)


def test_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        launch = Launch(tmp_path, "experiment=smoke", "tracking=none", f"serving.http.port={port}")
        code, output = launch.wait(60)
    assert code == 3
    assert f"serving.http.port={port}" in output


def test_bad_input_costs_a_line_and_a_second(tmp_path: Path) -> None:
    """The whole list of mistakes is in tests/unit/test_bad_input.py."""
    finished = subprocess.run(
        [sys.executable, "launch.py", "serving.batch.decod=1", f"outputs_dir={tmp_path}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 2
    assert finished.stdout == ""
    assert finished.stderr == "error: serving.batch.decod: no such key; did you mean serving.batch.decode?\n"
    assert not list(tmp_path.iterdir())
