"""What the machine did during a run: CPU and memory of the server, of the harness, and of everything else.

The sampler is a process of its own (`python -m harness.observe.telemetry FILE --pid server.frontend=123 …`), so that
neither the generator nor the server pays for it; it writes one JSON line per interval and ends with its stdin. CPU
figures are running totals, so the share of any window is exact however unevenly the samples fall. On Ascend it also
asks `npu-smi`; that part was never run on a device.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import select
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from harness.time_series import TimeSeries

INTERVAL_S = 0.5
_NPU_S = 5.0
_NPU_LINE = re.compile(r"^\s*([^:|]+?)\s*:\s*([0-9.]+)\s*$")


class Telemetry:
    """Samples from construction, which returns when the first sample is taken, to `stop`.

    processes: name -> pid; a process that ends is sampled no more. early_end: after `stop`, how the sampler had ended
    by itself before; "" if it had not.
    """

    early_end = ""

    def __init__(
        self, path: Path, processes: dict[str, int], interval_s: float = INTERVAL_S, npu_ids: list[int] | None = None
    ) -> None:
        self._path = path
        options = [str(path.resolve()), "--interval-s", str(interval_s)]
        command = [sys.executable, "-m", "harness.observe.telemetry", *options]
        for name, pid in processes.items():
            command += ["--pid", f"{name}={pid}"]
        for npu in npu_ids or []:
            command += ["--npu", str(npu)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            cwd=Path(__file__).parents[2],
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def stop(self) -> list[dict[str, Any]]:
        """End the sampler and return its rows."""
        status = self._process.poll()
        if status is not None:
            self.early_end = f"was killed by {_signal(-status)}" if status < 0 else f"ended with status {status}"
        self._process.communicate()
        return read(self._path)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # the real-time ones have no names
        return f"signal {number}"


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a telemetry file; a last line that was cut off is left out."""
    if not path.exists():
        return []
    *whole, _ = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in whole]


@dataclass(kw_only=True)
class MachineUse:
    """Averages over a window, in CPUs (1.0 = one core busy all the time). None = not sampled there."""

    window_s: float = 0.0
    num_cpus: int = 0
    machine_cpus: float | None = None  # busy with anything
    stolen_cpus: float | None = None  # wanted, but given by the hypervisor to other guests
    server_cpus: float | None = None
    sampled_cpus: float | None = None  # server, harness and sampler together
    server_memory_mb_max: float | None = None  # resident, all server processes together
    device: dict[str, float] = field(default_factory=dict)  # npu-smi figures, averaged
    interval_s: float = INTERVAL_S  # median time between samples
    unsampled_s: float = 0.0  # from the last sample to the window's end; less than an interval if all is well
    sampler_end: str = ""  # how the sampler ended before it was told to; "" = it did not


def use_between(rows: list[dict[str, Any]], start_ns: int, end_ns: int, sampler_end: str = "") -> MachineUse:
    """Work out what was used between two monotonic times, from the samples nearest to them inside."""
    inside = [row for row in rows if start_ns <= row["time_ns"] <= end_ns]
    times_ns = [row["time_ns"] for row in rows]
    gaps_ns = [later - earlier for earlier, later in itertools.pairwise(times_ns)]
    coverage: dict[str, Any] = {
        "interval_s": statistics.median(gaps_ns) / 1e9 if gaps_ns else INTERVAL_S,
        "unsampled_s": (end_ns - (inside[-1]["time_ns"] if inside else start_ns)) / 1e9,
        "sampler_end": sampler_end,
    }
    if len(inside) < 2:
        return MachineUse(**coverage)
    first, last = inside[0], inside[-1]
    window_s = (last["time_ns"] - first["time_ns"]) / 1e9
    both = [name for name in last["processes"] if name in first["processes"]]
    used = {name: (last["processes"][name][0] - first["processes"][name][0]) / window_s for name in both}
    server = [name for name in used if name.startswith("server")]
    memory = [sum(mb for name, (_, mb) in row["processes"].items() if name.startswith("server")) for row in inside]
    names = {name for row in inside for name in row.get("device", {})}
    return MachineUse(
        window_s=window_s,
        num_cpus=last["num_cpus"],
        machine_cpus=(last["busy_s"] - first["busy_s"]) / window_s,
        stolen_cpus=(last["stolen_s"] - first["stolen_s"]) / window_s,
        server_cpus=sum(used[name] for name in server) if server else None,
        sampled_cpus=sum(used.values()),
        server_memory_mb_max=max(memory) if server else None,
        device={
            name: _mean([row["device"][name] for row in inside if name in row.get("device", {})]) for name in names
        },
        **coverage,
    )


def series(rows: list[dict[str, Any]], start_ns: int) -> list[TimeSeries]:
    """Samples as series: `cpus.NAME` (CPUs used since the sample before), `memory_mb.NAME`, `device.NAME`.

    NAME is a process, or `machine` and `stolen` for the whole host; start_ns: of the window.
    """
    points: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for previous, row in zip([None, *rows], rows, strict=False):
        time_s = (row["time_ns"] - start_ns) / 1e9
        figures = {f"memory_mb.{name}": memory_mb for name, (_, memory_mb) in row["processes"].items()}
        figures |= {f"device.{name}": value for name, value in row.get("device", {}).items()}
        if previous is not None:
            elapsed_s = (row["time_ns"] - previous["time_ns"]) / 1e9
            figures |= {f"cpus.{name}": used_s / elapsed_s for name, used_s in _cpu_s(row, previous).items()}
        for name, value in figures.items():
            points[name].append((time_s, value))
    units = {"cpus": "CPUs", "memory_mb": "MB", "device": ""}  # npu-smi's figures have their unit in their name
    return [TimeSeries(name, units[name.split(".")[0]], *np.asarray(values).T) for name, values in points.items()]


def _cpu_s(row: dict[str, Any], previous: dict[str, Any]) -> dict[str, float]:
    both = [name for name in row["processes"] if name in previous["processes"]]
    used = {name: row["processes"][name][0] - previous["processes"][name][0] for name in both}
    host = {name: row[f"{key}_s"] - previous[f"{key}_s"] for name, key in (("machine", "busy"), ("stolen", "stolen"))}
    return used | host


def sample(processes: dict[str, psutil.Process]) -> dict[str, Any]:
    """One row: running CPU totals (s) and resident memory (MB)."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    stolen = getattr(times, "steal", 0.0)
    # guest time is part of user time already
    busy = sum(times) - idle - stolen - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    row: dict[str, Any] = {
        "time_ns": time.monotonic_ns(),
        "num_cpus": psutil.cpu_count(),
        "busy_s": busy,
        "stolen_s": stolen,
        "processes": {},
    }
    for name, process in processes.items():
        try:
            used = process.cpu_times()
            row["processes"][name] = [used.user + used.system, process.memory_info().rss / 1e6]
        except psutil.NoSuchProcess:
            continue
    return row


def parse_npu(output: str) -> dict[str, float]:
    """`name : number` lines of `npu-smi info -t usages -i ID`; written from Huawei's manual, never seen live."""
    matches = (_NPU_LINE.match(line) for line in output.splitlines())
    return {match.group(1): float(match.group(2)) for match in matches if match}


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _rows(processes: dict[str, psutil.Process], npu_ids: list[int]) -> Iterator[dict[str, Any]]:
    tool = shutil.which("npu-smi")
    while True:
        row = sample(processes)
        for npu in npu_ids if tool else []:
            row.setdefault("device", {}).update({f"npu{npu} {k}": v for k, v in _ask_npu(str(tool), npu).items()})
        yield row


def _ask_npu(tool: str, npu: int) -> dict[str, float]:
    """What npu-smi says of one device; nothing if it does not answer. Not verified on a device."""
    command = [tool, "info", "-t", "usages", "-i", str(npu)]
    try:
        return parse_npu(subprocess.run(command, capture_output=True, text=True, check=False, timeout=_NPU_S).stdout)
    except (OSError, subprocess.TimeoutExpired):
        return {}


def main() -> None:
    """Sample until stdin ends."""
    parser = argparse.ArgumentParser(
        prog="python -m harness.observe.telemetry", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--pid", action="append", default=[], metavar="NAME=PID")
    parser.add_argument("--npu", action="append", type=int, default=[], metavar="ID")
    parser.add_argument("--interval-s", type=float, default=INTERVAL_S)
    options = parser.parse_args()
    processes = {"sampler": psutil.Process()}
    for given in options.pid:
        name, _, pid = given.partition("=")
        if psutil.pid_exists(int(pid)):
            processes[name] = psutil.Process(int(pid))
    announced = False
    with options.file.open("w", encoding="utf-8") as file:
        for row in _rows(processes, options.npu):
            file.write(json.dumps(row) + "\n")
            file.flush()
            if not announced:
                print("sampling", flush=True)
                announced = True
            if select.select([sys.stdin], [], [], options.interval_s)[0]:
                return


if __name__ == "__main__":
    main()
