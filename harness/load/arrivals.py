"""When each request is to be sent: pure functions of the configuration. It knows no clocks and sends nothing."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.config import ArrivalConfig, ArrivalProcess, SearchMode, WorkloadConfig

_KEY = "workload.arrivals"
MAX_REQUESTS = 1_000_000  # of one window: each has a record and a prompt in memory


@dataclass(frozen=True)
class Schedule:
    """Send times, fixed before the first request leaves.

    offsets_s: float64 [count], ascending from 0, seconds after the start of the timed window; empty for a closed loop.
    floor_s: the least time the run can take because of the arrivals alone (0 for a closed loop).
    hash: sha256 over process, count, concurrency and the offsets in whole nanoseconds; equal hash = same schedule.
    """

    process: ArrivalProcess
    count: int
    offsets_s: NDArray[np.float64]
    floor_s: float
    concurrency: int
    hash: str

    @property
    def rate(self) -> float:
        """Requests per second of this very schedule: (count - 1) gaps over the time between first and last."""
        if len(self.offsets_s) < 2 or self.offsets_s[-1] == self.offsets_s[0]:
            return math.nan
        return float((len(self.offsets_s) - 1) / (self.offsets_s[-1] - self.offsets_s[0]))


def schedule(config: ArrivalConfig) -> Schedule:
    """Compute all send times. Raises ValueError with one line naming the key, the value and what is allowed.

    The first request of every process leaves at 0; gap i lies between request i and i + 1.
    """
    if config.process is ArrivalProcess.trace:
        offsets = _trace(config)
        return _finish(config, len(offsets), offsets, float(offsets[-1]))
    _require(config.rate > 0 and math.isfinite(config.rate), "rate", config.rate, "a number of requests/s above 0")
    _require(
        config.duration_s > 0 and math.isfinite(config.duration_s), "duration_s", config.duration_s, "seconds above 0"
    )
    if config.rate * config.duration_s > MAX_REQUESTS:
        raise ValueError(
            f"{_KEY}.rate={config.rate}, duration_s={config.duration_s}: make {config.rate * config.duration_s:,.0f} "
            f"requests; at most {MAX_REQUESTS:,}"
        )
    count = num_requests(config)
    if count < 1:
        raise ValueError(
            f"{_KEY}: rate={config.rate} x duration_s={config.duration_s}: gives no request; "
            "int(rate x duration_s) must be at least 1"
        )
    if config.process is ArrivalProcess.closed:
        _require(config.concurrency >= 1, "concurrency", config.concurrency, "at least 1")
        return _finish(config, count, np.empty(0), 0.0)
    offsets, floor_s = _PROCESSES[config.process](config, count)
    return _finish(config, count, offsets, floor_s)


def num_requests(config: ArrivalConfig) -> int:
    """int(X * T), as the contest counts; a ramp from 0 to X sends half of that in the same time."""
    expected = config.rate * config.duration_s
    return int(expected / 2) if config.process is ArrivalProcess.ramp else int(expected)


def closed_loop(count: int, concurrency: int) -> Schedule:
    """No send times: `concurrency` requests in flight until `count` are done."""
    return _finish(ArrivalConfig(process=ArrivalProcess.closed, concurrency=concurrency), count, np.empty(0), 0.0)


def _finish(config: ArrivalConfig, count: int, offsets_s: NDArray[np.float64], floor_s: float) -> Schedule:
    concurrency = config.concurrency if config.process is ArrivalProcess.closed else 0
    digest = hashlib.sha256(f"{config.process.value} {count} {concurrency}\n".encode())
    digest.update(np.rint(offsets_s * 1e9).astype("<i8").tobytes())
    return Schedule(config.process, count, offsets_s, floor_s, concurrency, digest.hexdigest())


def _constant(config: ArrivalConfig, count: int) -> tuple[NDArray[np.float64], float]:
    offsets = np.arange(count, dtype=np.float64) / config.rate
    return offsets, float(offsets[-1])


def _poisson(config: ArrivalConfig, count: int) -> tuple[NDArray[np.float64], float]:
    """Independent exponential gaps of mean 1/rate."""
    return _from_gaps(np.random.default_rng(config.seed).exponential(1.0 / config.rate, count - 1))


def _gamma(config: ArrivalConfig, count: int) -> tuple[NDArray[np.float64], float]:
    """Independent gamma gaps, shape = burstiness, mean 1/rate, so variance 1 / (burstiness * rate^2)."""
    _require(config.burstiness > 0, "burstiness", config.burstiness, "above 0 (1 is poisson, below 1 is burstier)")
    shape = config.burstiness
    return _from_gaps(np.random.default_rng(config.seed).gamma(shape, 1.0 / (shape * config.rate), count - 1))


def _ramp(config: ArrivalConfig, count: int) -> tuple[NDArray[np.float64], float]:
    """Rate x·t/T: request i leaves when the integral x·t²/(2T) reaches i."""
    offsets = np.sqrt(2.0 * config.duration_s * np.arange(count, dtype=np.float64) / config.rate)
    return offsets, float(offsets[-1])


def _judge(config: ArrivalConfig, count: int) -> tuple[NDArray[np.float64], float]:
    """The contest client: after each send a pause of poisson(round(1/X, 2) * 1000) ms, also after the last one.

    The original does not seed its generator; ours does. Its floor counts the pause after the last request.
    """
    gap_ms = round(1.0 / config.rate, 2) * 1000.0
    gaps_s = np.random.default_rng(config.seed).poisson(gap_ms, count) / 1000.0
    offsets, _ = _from_gaps(gaps_s[:-1])
    return offsets, float(gaps_s.sum())


def _trace(config: ArrivalConfig) -> NDArray[np.float64]:
    """One send time in seconds per line, ascending; shifted so that the first is 0. # begins a comment."""
    path = Path(config.trace_path)
    _require(path.is_file(), "trace_path", config.trace_path, "an existing file, one send time in seconds per line")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{_KEY}.trace_path={config.trace_path}: cannot be read ({error})") from None
    times: list[float] = []
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or (times and value < times[-1]):
            raise ValueError(f"{path}:{number}: {text!r} is no send time in seconds at or after the line before")
        times.append(value)
        if len(times) > MAX_REQUESTS:
            raise ValueError(f"{_KEY}.trace_path={config.trace_path}: has more than {MAX_REQUESTS:,} send times")
    if not times:
        raise ValueError(f"{_KEY}.trace_path={config.trace_path}: the file has no send times")
    return np.asarray(times, dtype=np.float64) - times[0]


def _from_gaps(gaps_s: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    offsets = np.concatenate([np.zeros(1), np.cumsum(gaps_s)])
    return offsets, float(offsets[-1])


_PROCESSES: dict[ArrivalProcess, Callable[[ArrivalConfig, int], tuple[NDArray[np.float64], float]]] = {
    ArrivalProcess.constant: _constant,
    ArrivalProcess.poisson: _poisson,
    ArrivalProcess.gamma: _gamma,
    ArrivalProcess.ramp: _ramp,
    ArrivalProcess.judge: _judge,
}


def _require(condition: bool, name: str, value: object, allowed: str) -> None:
    if not condition:
        raise ValueError(f"{_KEY}.{name}={value}: must be {allowed}")


def window_schedule(workload: WorkloadConfig, rate: float, repeat: int) -> Schedule:
    """The schedule of a search's window: each repetition at one rate draws other gaps. Raises ValueError."""
    seed = workload.arrivals.seed + repeat
    return schedule(dataclasses.replace(workload.arrivals, rate=rate, seed=seed))


def least_rate(config: ArrivalConfig) -> float:
    """The lowest rate X at which the configured duration holds a request."""
    return (2.0 if config.process is ArrivalProcess.ramp else 1.0) / config.duration_s


def schedules(workload: WorkloadConfig) -> dict[float, Schedule]:
    """The schedule of every point known beforehand, by rate X (a search's first). Raises ValueError in one line."""
    single = workload.arrivals.rate if workload.search.mode is SearchMode.off else workload.search.start_rate
    rates = workload.sweep_rates or [single]
    return {rate: schedule(dataclasses.replace(workload.arrivals, rate=rate)) for rate in rates}
