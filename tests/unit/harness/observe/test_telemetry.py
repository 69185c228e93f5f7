"""Machine use worked out from samples; the sampler's own rows; npu-smi's output as the manual prints it."""

import os
from pathlib import Path

import psutil
import pytest

from harness.observe import telemetry
from harness.observe.telemetry import MachineUse


def row(time_s: float, busy_s: float, server_s: float, memory_mb: float) -> dict:
    return {
        "time_ns": round(time_s * 1e9),
        "num_cpus": 2,
        "busy_s": busy_s,
        "stolen_s": time_s / 10,
        "processes": {"server.agent-0": [server_s, memory_mb], "sampler": [time_s / 100, 20.0]},
        "device": {"npu0 Aicore Usage Rate(%)": memory_mb / 10},
    }


def test_use_between_two_times() -> None:
    rows = [row(0, 0, 0, 100), row(1, 1, 0.5, 110), row(2, 2.5, 1.5, 130), row(3, 4.0, 2.5, 120), row(9, 9, 9, 999)]
    use = telemetry.use_between(rows, round(0.5e9), round(3.5e9))
    assert (use.window_s, use.num_cpus) == (2, 2)
    assert use.machine_cpus == pytest.approx(1.5)
    assert use.server_cpus == pytest.approx(1.0)
    assert use.sampled_cpus == pytest.approx(1.01)
    assert use.stolen_cpus == pytest.approx(0.1)
    assert use.server_memory_mb_max == 130
    assert use.device == {"npu0 Aicore Usage Rate(%)": pytest.approx(12)}
    assert (use.interval_s, use.unsampled_s) == (1, 0.5)


def test_too_few_samples_give_nothing() -> None:
    assert telemetry.use_between([row(0, 0, 0, 1)], 0, 10**9) == MachineUse(unsampled_s=1)
    assert telemetry.use_between([], 0, 10**9) == MachineUse(unsampled_s=1)


def test_a_sample_of_this_process() -> None:
    first = telemetry.sample({"server": psutil.Process()})
    sum(range(2_000_000))
    second = telemetry.sample({"server": psutil.Process()})
    assert second["processes"]["server"][0] >= first["processes"]["server"][0]
    assert second["processes"]["server"][1] == pytest.approx(psutil.Process().memory_info().rss / 1e6, rel=0.2)
    assert second["busy_s"] >= first["busy_s"]
    assert second["num_cpus"] == os.cpu_count()


def test_a_cut_last_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "telemetry.jsonl"
    assert telemetry.read(path) == []
    path.write_text('{"time_ns": 1}\n{"time')
    assert telemetry.read(path) == [{"time_ns": 1}]


def test_npu_smi_lines() -> None:
    output = (
        "\tNPU ID                         : 0\n\tAicore Usage Rate(%)           : 37\n\tHBM Usage Rate(%) : 4.5\nx\n"
    )
    assert telemetry.parse_npu(output) == {"NPU ID": 0.0, "Aicore Usage Rate(%)": 37.0, "HBM Usage Rate(%)": 4.5}


def test_samples_become_series() -> None:
    rows: list[dict] = [
        {"time_ns": 10**9, "busy_s": 1.0, "stolen_s": 0.0, "processes": {"server.a": [1.0, 50.0]}},
        {"time_ns": 3 * 10**9, "busy_s": 4.0, "stolen_s": 0.5, "processes": {"server.a": [2.0, 60.0], "new": [9, 1]},
         "device": {"npu0 HBM": 4.0}},
    ]  # fmt: skip
    found = {one.name: one for one in telemetry.series(rows, start_ns=2 * 10**9)}
    memory = found.pop("memory_mb.server.a")
    assert (memory.unit, memory.times_s.tolist(), memory.values.tolist()) == ("MB", [-1.0, 1.0], [50.0, 60.0])
    assert {name: (one.unit, one.times_s.tolist(), one.values.tolist()) for name, one in found.items()} == {
        "memory_mb.new": ("MB", [1.0], [1]),
        "device.npu0 HBM": ("", [1.0], [4.0]),
        "cpus.server.a": ("CPUs", [1.0], [0.5]),
        "cpus.machine": ("CPUs", [1.0], [1.5]),
        "cpus.stolen": ("CPUs", [1.0], [0.25]),
    }
    assert telemetry.series([], 0) == []
