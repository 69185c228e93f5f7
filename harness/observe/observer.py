"""What the server and its machine did around one timed window: samples during it, the server's own figures beside it.

The sampler is a process of its own; the server is asked for its step timings (GET /stats, GET /stats/steps) just before
the window and just after it, never inside. A server that has no such page is one that says nothing.
"""

from __future__ import annotations

import http.client
import os
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson
import pyarrow as pa

from harness import time_series, whole_file
from harness.load import protocols
from harness.observe import steps, telemetry
from harness.observe.telemetry import MachineUse, Telemetry
from harness.run_folder import SERVER_STATS, STEPS, TELEMETRY
from harness.server import Server

_RAW = "telemetry.jsonl"
_TIMEOUT_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What was seen of one window; None = the server does not tell it."""

    machine: MachineUse  # averages
    stats_before: dict[str, Any] | None  # the /stats page
    stats_after: dict[str, Any] | None
    steps: pa.Table | None  # columns as in harness.observe.steps


class Observer:
    """Watches from `__enter__` until it is asked to `conclude`, or the block ends.

    Writes telemetry.parquet (series as harness.time_series keeps them) and, if the server has step timings,
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
        time_series.write(self._folder / TELEMETRY, telemetry.series(rows, start_ns))
        after = server_stats(self._server)
        if self._before is not None and after is not None:
            whole_file.write_json(self._folder / SERVER_STATS, {"before": self._before, "after": after})
        table = steps.of_window(self._before, server_steps(self._server), start_ns)
        if table is not None:
            steps.write(self._folder / STEPS, table)
        return Observation(machine=machine, stats_before=self._before, stats_after=after, steps=table)

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
