"""Runs a load plan in worker processes and gathers a record of every request. It knows no wire protocol."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import orjson

from harness.load import outcomes, spool
from harness.load.plan import LoadPlan, num_workers_for, read_plan, spool_path, write_plan
from harness.records import RequestRecord
from harness.server import Server

SPOOL_DIR = "spool"
_LEAD_S = 0.05  # from the last worker's readiness to the first send
_STOP_GRACE_S = 5.0
INTERRUPTED = "interrupted (Ctrl-C)"  # LoadRun.incomplete_reason after a KeyboardInterrupt


class LoadError(RuntimeError):
    """The window could not begin, e.g. nothing listens at the URL; one line."""


class Stop:
    """Ends a run early, from any thread or signal handler: `set(reason)`."""

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.reason = ""

    def set(self, reason: str) -> None:
        """Stop now; the first reason stays."""
        self.reason = self.reason or reason
        os.eventfd_write(self._fd, 1)

    def fileno(self) -> int:
        """Readable once set."""
        return self._fd

    def __del__(self) -> None:
        os.close(self._fd)


@dataclass
class LoadProgress:
    """Running counts over all workers. `chunks` is messages received, about one per token; failed includes rejected."""

    total: int
    elapsed_s: float = 0.0
    sent: int = 0
    first_token: int = 0
    finished: int = 0
    failed: int = 0
    chunks: int = 0


OnProgress = Callable[[LoadProgress], None]


@dataclass
class LoadRun:
    """The result: one record per prompt, in order. incomplete_reason is "" if the window ran to its end.

    start_ns: CLOCK_MONOTONIC of the window's start, to which all record times relate; start_unix_s: the same in time().
    """

    records: list[RequestRecord]
    start_ns: int
    start_unix_s: float
    end_ns: int
    num_workers: int
    generator_cpu_s: float  # user + system time of all workers inside the window
    priority_raised: bool  # whether the workers could run before the server's threads
    incomplete_reason: str

    @property
    def generator_cpus(self) -> float:
        """CPUs that all workers together used, averaged over the window."""
        window_s = (self.end_ns - self.start_ns) / 1e9
        return self.generator_cpu_s / window_s if window_s > 0 else 0.0


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    buffer: bytes = b""
    ready: bool = False
    done: bool = False
    error: str = ""
    cpu_s: float = 0.0
    priority_raised: bool = False
    counts: dict[str, int] = field(default_factory=dict)

    def take(self, message: dict[str, object]) -> None:
        """Note one message of the worker."""
        for name, value in message.items():
            setattr(self, name, value)

    @property
    def stdout(self) -> IO[bytes]:
        assert self.process.stdout is not None
        return self.process.stdout

    def say(self, line: str) -> None:
        """Send a command; a worker that is gone will be noticed by its end of file."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return


def run(
    plan: LoadPlan,
    spool_dir: Path,
    on_progress: Callable[[LoadProgress], None] | None = None,
    stop: Stop | None = None,
) -> LoadRun:
    """Run the plan; blocks until every request has ended. Ctrl-C or `stop` ends it early and keeps what was gathered.

    spool_dir: holds the plan and the raw account of each ended request, so that nothing gathered is lost if this
    process is killed (see `recover`); remove it when the records are saved.
    Raises LoadError if the window cannot begin.
    """
    if len(plan.prompts) != plan.schedule.count:
        raise LoadError(f"{len(plan.prompts)} prompts for {plan.schedule.count} scheduled requests")
    if plan.num_workers < 1:
        mean_tokens = sum(prompt.max_new_tokens for prompt in plan.prompts) / len(plan.prompts)
        plan.num_workers = num_workers_for(plan.schedule, mean_tokens, os.cpu_count() or 1)
    spool_dir = spool_dir.resolve()
    spool_dir.mkdir(parents=True, exist_ok=True)
    for stale in spool_dir.glob("*.frames"):
        stale.unlink()
    write_plan(plan, spool_dir)
    workers = [_spawn(spool_dir, number) for number in range(plan.num_workers)]
    gathering = _Gathering(workers, stop or Stop(), on_progress, LoadProgress(len(plan.prompts)))
    try:
        gathering.wait_until_ready(plan.url)
        start_ns = gathering.begin()
        gathering.wait_until_done()
        end_ns = time.monotonic_ns()
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.communicate()
    return LoadRun(
        records=recover(spool_dir),
        start_ns=start_ns,
        start_unix_s=time.time() - (time.monotonic_ns() - start_ns) / 1e9,
        end_ns=end_ns,
        num_workers=plan.num_workers,
        generator_cpu_s=sum(worker.cpu_s for worker in workers),
        priority_raised=all(worker.priority_raised for worker in workers),
        incomplete_reason=gathering.reason,
    )


def recover(spool_dir: Path) -> list[RequestRecord]:
    """The record of every request of the plan in `spool_dir`, from what its workers wrote; the rest are `lost`."""
    plan = read_plan(spool_dir)
    offsets_s = plan.schedule.offsets_s
    scheduled = [round(offset * 1e9) for offset in offsets_s] if len(offsets_s) else [None] * len(plan.prompts)
    records = [outcomes.lost(i, prompt, scheduled[i]) for i, prompt in enumerate(plan.prompts)]
    for number in range(plan.num_workers):
        path = spool_path(spool_dir, number)
        if path.exists():
            for frame, body in spool.read(path):
                prompt = plan.prompts[frame.index]
                records[frame.index] = outcomes.record(plan.options.protocol, prompt, frame, body, number)
    return records


class _Gathering:
    """Listens to the workers and to `stop`."""

    def __init__(
        self,
        workers: list[_Worker],
        stop: Stop,
        on_progress: Callable[[LoadProgress], None] | None,
        progress: LoadProgress,
    ) -> None:
        self._workers = workers
        self._stop = stop
        self._on_progress = on_progress
        self._progress = progress
        self._start_ns = 0
        self._give_up_ns: int | None = None
        self._selector = selectors.DefaultSelector()
        for worker in workers:
            self._selector.register(worker.stdout, selectors.EVENT_READ, worker)
        self._selector.register(stop, selectors.EVENT_READ)
        self.reason = ""

    def wait_until_ready(self, url: str) -> None:
        """Return when all workers are connected. Raises LoadError."""
        while not all(worker.ready for worker in self._workers):
            self._listen()
            for worker in self._workers:
                if worker.error:
                    raise LoadError(worker.error)
                if worker.done and not worker.ready:
                    raise LoadError(f"a load worker for {url} died with status {worker.process.wait()}")
            if self.reason:
                raise LoadError(f"stopped before the first request: {self.reason}")

    def begin(self) -> int:
        """Start the window; returns its start on CLOCK_MONOTONIC in ns."""
        self._start_ns = time.monotonic_ns() + round(_LEAD_S * 1e9)
        for worker in self._workers:
            worker.say(f"start {self._start_ns}")
        return self._start_ns

    def wait_until_done(self) -> None:
        """Return when every worker has ended, after a stop within a few seconds."""
        while not all(worker.done for worker in self._workers):
            try:
                self._listen()
            except KeyboardInterrupt:
                self._end(INTERRUPTED)
            if self._give_up_ns is not None and time.monotonic_ns() > self._give_up_ns:
                return

    def _end(self, reason: str) -> None:
        if self.reason:
            return
        self.reason = reason
        self._give_up_ns = time.monotonic_ns() + round(_STOP_GRACE_S * 1e9)
        for worker in self._workers:
            worker.say("stop")

    def _listen(self) -> None:
        timeout_s = None if self._give_up_ns is None else max(0.0, (self._give_up_ns - time.monotonic_ns()) / 1e9)
        for key, _ in self._selector.select(timeout_s):
            if key.data is None:
                self._selector.unregister(self._stop)
                self._end(self._stop.reason)
            else:
                self._hear(key.data)
        self._show()

    def _hear(self, worker: _Worker) -> None:
        data = os.read(worker.stdout.fileno(), 65536)
        if not data:
            self._selector.unregister(worker.stdout)
            if not worker.done and not worker.error:
                self._end(f"a load worker died with status {worker.process.wait()}")
            worker.done = True
        *lines, worker.buffer = (worker.buffer + data).split(b"\n")
        for line in lines:
            worker.take(orjson.loads(line))

    def _show(self) -> None:
        if self._on_progress is None or not self._start_ns:
            return
        progress = self._progress
        progress.elapsed_s = max(0.0, (time.monotonic_ns() - self._start_ns) / 1e9)
        for name in ("sent", "first_token", "finished", "failed", "chunks"):
            setattr(progress, name, sum(worker.counts.get(name, 0) for worker in self._workers))
        self._on_progress(progress)


def _spawn(spool_dir: Path, number: int) -> _Worker:
    """Start a worker in a session of its own, so that Ctrl-C reaches only us; it ends when its stdin does."""
    process = subprocess.Popen(
        [sys.executable, "-m", "harness.load.worker", str(spool_dir), str(number)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        cwd=Path(__file__).parents[2],
    )
    return _Worker(process)


def stop_on_death(server: Server) -> Stop:
    """A stop that is set as soon as the server dies; requests under way then end as cancelled, with that reason."""
    stop = Stop()
    server.on_death(lambda: stop.set(server.failure() or "the server died"))
    return stop
