"""What the server and its machine did around one timed window: samples during it, the server's own figures beside it.

The sampler is a process of its own; the server is asked for its step timings (GET /stats, GET /stats/steps) just before
the window and just after it, never inside. A server that has no such page is one that says nothing.
"""

from __future__ import annotations

import http.client
import os
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson

from harness import whole_file
from harness.load import protocols
from harness.observe import series_file, step_series, steps, telemetry
from harness.observe.telemetry import MachineUse, Telemetry
from harness.run_folder import SERVER_STATS, STEPS, TELEMETRY
from harness.server import Server

_RAW = "telemetry.jsonl"
_TIMEOUT_S = 5.0
_PERCENTILES = ("p50", "p90", "p99")
# Of /stats: parts of a step whose percentiles are metrics; all parts are in SERVER_STATS.
_PARTS = ("step", "forward", "device_gap")


@dataclass
class Observation:
    """machine: averages over the window; steps: flat figures of the server's steps, see `step_figures`."""

    machine: MachineUse = field(default_factory=MachineUse)
    steps: dict[str, float] = field(default_factory=dict)


class Observer:
    """Watches from `__enter__` until it is asked to `conclude`, or the block ends.

    Writes telemetry.parquet (metric, time_s since the window's start, value) and, if the server has step timings,
    server_stats.json and steps.parquet (one row per step of the window) into `folder`; raw samples go to
    `scratch` meanwhile, so that a killed run leaves them.
    """

    def __init__(self, server: Server, folder: Path, scratch: Path, npu_ids: list[int]) -> None:
        self._server = server
        self._folder = folder
        self._raw = scratch / _RAW
        self._npu_ids = npu_ids
        self._before: dict[str, Any] | None = None
        self._sampler: Telemetry | None = None

    def __enter__(self) -> Observer:
        self._before = server_stats(self._server)
        self._raw.parent.mkdir(parents=True, exist_ok=True)
        processes = {"harness": os.getpid(), **{f"server.{name}": pid for name, pid in self._server.pids().items()}}
        self._sampler = Telemetry(self._raw, processes, npu_ids=self._npu_ids)
        return self

    def conclude(self, start_ns: int, end_ns: int) -> Observation:
        """Stop sampling and write the files; times are the window's, on CLOCK_MONOTONIC."""
        sampler = self._sampler
        rows = self._stop()
        machine = telemetry.use_between(rows, start_ns, end_ns, sampler.early_end if sampler else "")
        series_file.write(self._folder / TELEMETRY, telemetry_series(rows, start_ns))
        after = server_stats(self._server)
        if self._before is not None and after is not None:
            whole_file.write_json(self._folder / SERVER_STATS, {"before": self._before, "after": after})
        table = steps.of_window(self._before, server_steps(self._server), start_ns)
        if table is not None:
            steps.write(self._folder / STEPS, table)
        held = step_series.figures(table) if table is not None else {}
        return Observation(machine, step_figures(self._before, after) | held)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop()

    def _stop(self) -> list[dict[str, Any]]:
        sampler, self._sampler = self._sampler, None
        return sampler.stop() if sampler is not None else []


def server_stats(server: Server) -> dict[str, Any] | None:
    """The server's /stats page; None if it has none, cannot be reached, or means something else by that name."""
    page = _page(server, "/stats")
    return page if page is not None and isinstance(page.get("engine"), dict) else None


def server_steps(server: Server) -> steps.StepsPage | None:
    """The server's /stats/steps page; None as for `server_stats`."""
    asked_ns = time.monotonic_ns()
    page = _page(server, "/stats/steps")
    return steps.read_page(page, asked_ns, time.monotonic_ns())


def _page(server: Server, path: str) -> dict[str, Any] | None:
    """A JSON object that the server has at this path, or None."""
    where = protocols.target(server.url)
    scheme = "https" if where.tls else "http"
    host = f"[{where.host}]" if ":" in where.host else where.host
    request = urllib.request.Request(f"{scheme}://{host}:{where.port}{where.prefix}{path}")
    if server.api_key:
        request.add_header("Authorization", f"Bearer {server.api_key}")
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
            page = orjson.loads(answer.read())
    except (OSError, ValueError, http.client.HTTPException):
        return None
    return page if isinstance(page, dict) else None


def step_figures(before: dict[str, Any] | None, after: dict[str, Any] | None) -> dict[str, float]:
    """Per kind of step (prefill, decode): how many the window had, their mean time, and percentiles of their parts.

    Counts and means are the window's exactly (differences of running totals). Percentiles are of the newest steps that
    the server keeps, which may reach back into the warm-up; of several agents the slowest one's.
    """
    if before is None or after is None:
        return {}
    agents = list(zip(before["engine"].get("agents", []), after["engine"].get("agents", []), strict=False))
    figures: dict[str, float] = {}
    for kind in sorted({kind for _, agent in agents for kind in agent.get("step_time_histogram", {})}):
        steps = [_difference(old, new, kind) for old, new in agents]
        count, total_s = sum(count for count, _ in steps), sum(seconds for _, seconds in steps)
        if not count:
            continue
        figures[f"{kind}_steps"] = float(count)
        figures[f"{kind}_step_ms_mean"] = total_s / count * 1e3
        figures.update(_percentiles([new for _, new in agents], kind))
    if figures:
        figures["preemptions"] = float(
            sum(new.get("preemptions", 0) - old.get("preemptions", 0) for old, new in agents)
        )
    return figures


def _difference(old: dict[str, Any], new: dict[str, Any], kind: str) -> tuple[int, float]:
    """(steps, their time in s) between two readings of one agent."""
    pages = [agent.get("step_time_histogram", {}).get(kind) for agent in (old, new)]
    counts = [page["cumulative_counts"][-1] if page else 0 for page in pages]
    sums = [page["sum_s"] if page else 0.0 for page in pages]
    return counts[1] - counts[0], sums[1] - sums[0]


def _percentiles(agents: list[dict[str, Any]], kind: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for summary in (agent.get("steps", {}).get(kind, {}) for agent in agents):
        for part in _PARTS:
            for name in _PERCENTILES:
                value_us = summary.get(f"{part}_us", {}).get(name)
                if value_us is not None:
                    key = f"{kind}_{part}_ms_{name}"
                    found[key] = max(found.get(key, 0.0), value_us / 1e3)
    return found


def telemetry_series(rows: list[dict[str, Any]], start_ns: int) -> Iterator[series_file.Sample]:
    """Samples as tidy series: `cpus.NAME` (CPUs used since the sample before), `memory_mb.NAME`, `device.NAME`.

    NAME is a process, or `machine` and `stolen` for the whole host.
    """
    for previous, row in zip([None, *rows], rows, strict=False):
        time_s = (row["time_ns"] - start_ns) / 1e9
        for name, (_, memory_mb) in row["processes"].items():
            yield series_file.Sample(f"memory_mb.{name}", time_s, memory_mb)
        for name, value in row.get("device", {}).items():
            yield series_file.Sample(f"device.{name}", time_s, value)
        if previous is None:
            continue
        elapsed_s = (row["time_ns"] - previous["time_ns"]) / 1e9
        for name, used_s in _cpu_s(row, previous).items():
            yield series_file.Sample(f"cpus.{name}", time_s, used_s / elapsed_s)


def _cpu_s(row: dict[str, Any], previous: dict[str, Any]) -> dict[str, float]:
    both = [name for name in row["processes"] if name in previous["processes"]]
    used = {name: row["processes"][name][0] - previous["processes"][name][0] for name in both}
    host = {name: row[f"{key}_s"] - previous[f"{key}_s"] for name, key in (("machine", "busy"), ("stolen", "stolen"))}
    return used | host
