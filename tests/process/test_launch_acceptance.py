"""experiment=accept_910b4 as one command, here with the arithmetic model on the CPU: its mechanics, not its device."""

from __future__ import annotations

import io
import json
import signal
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from test_launch import Launch, assert_nothing_left, shm_before

pytestmark = pytest.mark.process
__all__ = ["shm_before"]  # a fixture
HERE = (
    "experiment=accept_910b4", "device=cpu", "model=arithmetic", "tracking=none", "workload.sweep_rates=[10,30]",
    "workload.dataset.max_new_tokens=16", "serving.http.api_key=open-sesame",
)  # fmt: skip


def test_one_command_gives_one_file(tmp_path: Path, shm_before: set[str]) -> None:
    launch = Launch(tmp_path, *HERE, "workload.arrivals.duration_s=1")
    code, output = launch.wait()
    assert code == 0, output
    path = launch.run_dir / "accept_910b4.zip"
    assert f"send back: {path}" in output and "not verified on device" in output and "clock source" in output
    assert_nothing_left(launch, shm_before)

    with zipfile.ZipFile(path) as packed:
        found = json.loads(packed.read("acceptance.json"))
        tables = [
            pd.read_parquet(io.BytesIO(packed.read(name)))
            for name in packed.namelist()
            if name.endswith("steps.parquet")
        ]
        assert not any(b"open-sesame" in packed.read(name) for name in packed.namelist())
    assert found["doctor"]["passed"] is True and found["target"] == "CPU"
    assert found["verdict"]["verdict"] == "pass" and found["accuracy"]["allclose_pass_rate"] == 1.0
    assert [point["requests_finished"] for point in found["points"]] == [10, 30]
    assert {row["kind"] for row in found["step_times"]} == {"prefill", "decode"}
    assert {fit["kind"] for fit in found["fit"]} == {"prefill", "decode"}
    # Each prompt is prefilled once and yields its first token there; every other token is a sequence of a decode step.
    steps = pd.concat(tables)
    assert len(tables) == 2
    assert steps[steps["kind"] == "prefill"]["num_seqs"].sum() == 40
    outputs = sum(point["output_tokens_total"] for point in found["points"])
    assert steps["num_seqs"].sum() == pytest.approx(
        outputs, rel=0.02
    )  # a step planned ahead of an EOS may run for nothing


def test_an_acceptance_that_cannot_start_is_packed_too(tmp_path: Path) -> None:
    """A model that is not there: the run fails, the file tells why."""
    launch = Launch(
        tmp_path,
        "experiment=accept_910b4",
        "device=cpu",
        f"model.path={tmp_path}/none.ckpt",
        f"model.tokenizer={tmp_path}/none.model",
        "model.shape.num_layers=1",  # small enough for any machine's memory, which is looked at before the model is
        "model.seq_length=512",
        "serving.cache.num_blocks=64",
        "serving.prefill.max_tokens=192",
        "workload.dataset.max_new_tokens=16",
        "tracking=none",
    )
    code, output = launch.wait()
    assert code == 3, output
    assert "going on all the same" in output
    with zipfile.ZipFile(launch.run_dir / "accept_910b4.zip") as packed:
        found = json.loads(packed.read("acceptance.json"))
    assert found["doctor"]["passed"] is False and found["verdict"]["complete"] is False
    assert found["verdict"]["incomplete_reason"] and found["points"] == []


def test_an_interrupted_acceptance_is_packed_too(tmp_path: Path, shm_before: set[str]) -> None:
    launch = Launch(tmp_path, *HERE, "workload.arrivals.duration_s=60")
    launch.child("harness.load.worker")
    launch.process.send_signal(signal.SIGINT)
    code, output = launch.wait(30)
    assert code == 130, output
    with zipfile.ZipFile(launch.run_dir / "accept_910b4.zip") as packed:
        found = json.loads(packed.read("acceptance.json"))
    assert found["verdict"]["complete"] is False and "Ctrl-C" in found["verdict"]["incomplete_reason"]
    assert_nothing_left(launch, shm_before)
