"""Sweeps as a user runs them: failures, kills, resumption, variants in processes of their own, a search."""

from __future__ import annotations

import json
import signal
import socket
import time
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient

from harness.sweep import variant
from tests.process.test_launch import Launch, assert_nothing_left

pytestmark = pytest.mark.process
QUICK = ["-m", "experiment=smoke", "accuracy=none", "workload.arrivals.duration_s=0.5"]


def sweep_dirs(outputs: Path) -> list[Path]:
    return sorted(outputs.glob("smoke/*_sweep"))


def test_a_failing_variant_does_not_end_the_sweep_and_a_killed_sweep_goes_on(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        ports = f"serving.http.port={taken.getsockname()[1]},0,{free.getsockname()[1]}"
        free.close()
        overrides = [*QUICK, "tracking=none", ports, "workload.num_warmup=0"]
        first = Launch(tmp_path, *overrides)
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline and not list(tmp_path.glob("smoke/*_sweep/1/variant.json")):
            time.sleep(0.05)
        first.child("serving.frontend")
        first.process.kill()
        first.process.wait()
        (sweep_dir,) = sweep_dirs(tmp_path)
        before = variant.read(sweep_dir / "1")
        assert before is not None and before.exit_status == 0
        assert not (sweep_dir / "2" / "variant.json").exists()

        second = Launch(tmp_path, *overrides)
        code, output = second.wait()
    assert code == 3, output
    assert "goes on with the interrupted sweep" in output
    assert "variant 1 was finished before" in output
    assert "3 of 3 variants ended, 1 of them failed" in output
    assert sweep_dirs(tmp_path) == [sweep_dir]
    results = variant.read_all(sweep_dir)
    assert [result.exit_status for result in results.values()] == [3, 0, 0]
    assert results[sweep_dir / "1"] == before
    assert "serving.http.port=" in results[sweep_dir / "0"].reason
    assert (sweep_dir / "0" / "attempt-1").is_dir()
    report = (sweep_dir / "report.html").read_text()
    assert "2 of 3 passed" in report and "✗ failed" in report
    assert all((sweep_dir / str(number) / "report.html").exists() for number in range(3))
    assert json.loads((sweep_dir / "sweep.json").read_text())["ended"] == "finished"


def test_variants_in_processes_of_their_own_share_devices_and_one_mlflow_parent(tmp_path: Path) -> None:
    launch = Launch(tmp_path, *QUICK, "hydra/launcher=devices", "sweep.device_pool=[3,5]", "serving.batch.decode=1,4")
    code, output = launch.wait(200)
    assert code == 0, output
    assert "2 of 2 variants ended" in output
    (sweep_dir,) = sweep_dirs(tmp_path)
    stacks = [json.loads((sweep_dir / number / "stack.json").read_text()) for number in "01"]
    assert all(stack["serving"]["agent"]["device_ids"] in ([3], [5]) for stack in stacks)
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name("plumbline")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = (run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    names = {run.info.run_name for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id}
    assert names == {"decode=1", "decode=4"}
    assert parent.data.metrics["variants_passed"] == 2 and parent.data.metrics["best_output_tokens_per_s"] > 0
    assert {"report.html", "variants.json"} <= {item.path for item in client.list_artifacts(parent.info.run_id)}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_ending_the_command_ends_variants_in_other_processes(tmp_path: Path, number: signal.Signals) -> None:
    shm_before = {path.name for path in Path("/dev/shm").iterdir()}
    launch = Launch(
        tmp_path, "-m", "experiment=smoke", "tracking=none", "accuracy=none", "hydra/launcher=devices",
        "workload.arrivals.duration_s=60", "serving.batch.decode=1,4", "sweep.device_pool=[0,1]",
    )  # fmt: skip
    launch.child("serving.frontend")
    launch.child("serving.agent")
    launch.child("submitit.core._submit")
    below = psutil.Process(launch.process.pid).children(recursive=True)
    launch.process.send_signal(number)
    launch.process.communicate(timeout=60)
    _, alive = psutil.wait_procs(below, timeout=30)
    assert not alive, [process.cmdline() for process in alive]
    assert_nothing_left(launch, shm_before)


def test_a_launcher_that_cannot_work_ends_the_sweep_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")  # no Slurm, wherever this runs
    launch = Launch(tmp_path, *QUICK, "tracking=none", "hydra/launcher=slurm", "serving.batch.decode=1,4")
    code, output = launch.wait(60)
    assert code == 3 and "Traceback" not in output
    assert output.splitlines()[-1].startswith('error: the sweep ended early: Could not detect "srun"')
    (sweep_dir,) = sweep_dirs(tmp_path)
    assert json.loads((sweep_dir / "sweep.json").read_text())["ended"] == "interrupted"


def test_a_search_tries_as_many_variants_as_it_is_told(tmp_path: Path) -> None:
    launch = Launch(
        tmp_path, *QUICK, "tracking=none", "hydra/sweeper=search", "hydra.sweeper.n_trials=2",
        "serving.batch.decode=range(1,8)",
    )  # fmt: skip
    code, output = launch.wait()
    assert code == 0, output
    (sweep_dir,) = sweep_dirs(tmp_path)
    assert len(variant.read_all(sweep_dir)) == 2
    assert "serving.batch.decode" in (sweep_dir / "optimization_results.yaml").read_text()
    assert "2 of 2 passed" in (sweep_dir / "report.html").read_text()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("serving.http.port=8000", "serving.http.port=8000: variants that run at once"),
        ("serving.agent.device_ids=[0,1]", "sweep.device_pool=[0]: must hold at least the 2 devices"),
    ],
)
def test_variants_in_each_other_s_way_are_refused_in_one_line(tmp_path: Path, override: str, message: str) -> None:
    launch = Launch(tmp_path, *QUICK, "tracking=none", "hydra/launcher=devices", "sweep.device_pool=[0]", override)
    code, output = launch.wait(60)
    assert code == 2 and output.startswith(f"error: {message}") and output.count("\n") == 1
