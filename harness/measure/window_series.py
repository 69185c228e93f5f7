"""A timed window as time series: what its records, the server's steps and the samples of the machine say.

All are means per interval. Of requests the client's side is told: `requests_decoding` counts those whose stream has
begun and not ended, not rows of a batch. Queue and KV use are gauges of the server: what a step left behind holds until
the next step of the same agent ends, so they are weighted by time. The batch is a property of decode steps, weighted by
how long each took.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa

from harness import time_series
from harness.measure import timeline
from harness.observe import steps
from harness.records import RequestRecord
from harness.run_folder import SERIES, STEPS
from harness.time_series import TimeSeries, Values

MAX_POINTS = 300  # per series of the file: ten minutes in steps of two seconds
MAX_DRAWN = 60  # per series of a chart
REQUESTS = "series."  # prefix of what the records and the server's steps say
SYSTEM = "system/"  # prefix under which MLflow shows the figures of machines
_NICE_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0)


def write(folder: Path, records: list[RequestRecord], telemetry: Path) -> bool:
    """Write series.parquet into a point's folder; False if there is nothing."""
    last_s = timeline.last_s(records)
    every_s = float(max(1, math.ceil(last_s / MAX_POINTS)))
    of_window = of_requests(records, every_s) + of_steps(steps.read(folder / STEPS), every_s, last_s)
    series = [*_prefixed(REQUESTS, of_window), *_prefixed(SYSTEM, of_machine(_samples(telemetry), every_s, last_s))]
    if series:
        time_series.write(folder / SERIES, series)
    return bool(series)


def drawn_interval_s(records: list[RequestRecord]) -> float:
    """A round interval that cuts the window into at most MAX_DRAWN parts."""
    last_s = timeline.last_s(records)
    return next((size for size in _NICE_S if last_s / size <= MAX_DRAWN), last_s / MAX_DRAWN)


def of_requests(records: list[RequestRecord], every_s: float) -> list[TimeSeries]:
    """Tokens/s and mean numbers of requests in each interval; [] if nothing was sent."""
    edges = _edges(every_s, timeline.last_s(records))
    if len(edges) < 2:
        return []
    sent = timeline.phases(records)
    begun = [phase for phase in sent if phase.first_token_s is not None]
    times_s = [time_ns / 1e9 for record in records for time_ns in record.chunk_times_ns]
    tokens = [num for record in records for num in record.chunk_tokens]
    numbers = {
        "requests_in_flight": [(p.sent_s, p.ended_s) for p in sent],
        "requests_waiting": [(p.sent_s, p.first_token_s or p.ended_s) for p in sent],
        "requests_decoding": [(p.first_token_s or 0.0, p.ended_s) for p in begun],
    }
    per_interval = np.histogram(times_s, edges, weights=tokens)[0]
    return [
        TimeSeries("output_tokens_per_s", "tokens/s", edges[1:], per_interval / every_s),
        *(TimeSeries(name, "requests", edges[1:], _mean_number(spans, edges)) for name, spans in numbers.items()),
    ]


def of_steps(table: pa.Table | None, every_s: float, last_s: float) -> list[TimeSeries]:
    """kv_use (share of all agents' blocks), requests_queued in the server, and decode_batch_size where a step ended.

    [] if there are no steps, or if they do not say when they ended and what they left behind.
    """
    edges = _edges(every_s, last_s)
    if table is None or not steps.tell_times(table) or len(edges) < 2:
        return []
    columns = {name: table[name].to_numpy() for name in table.column_names if name != "kind"}
    of_agents = [columns["agent"] == agent for agent in np.unique(columns["agent"])]

    def gauge(name: str) -> Values:
        held = (_mean_held(columns["ended_s"][mine], columns[name][mine], edges) for mine in of_agents)
        return np.asarray(np.sum(list(held), axis=0))

    weights = columns["step_ns"] * (np.asarray(table["kind"].to_pylist()) == "decode")
    time = np.histogram(columns["ended_s"], edges, weights=weights)[0]
    weighted = np.histogram(columns["ended_s"], edges, weights=weights * columns["num_seqs"])[0]
    ran = time > 0
    return [
        TimeSeries("kv_use", "share of blocks", edges[1:], gauge("kv_blocks_used") / steps.num_blocks(table)),
        TimeSeries("requests_queued", "requests", edges[1:], gauge("num_waiting")),
        TimeSeries("decode_batch_size", "sequences", edges[1:][ran], weighted[ran] / time[ran]),
    ]


def of_machine(samples: Iterable[TimeSeries], every_s: float, last_s: float) -> list[TimeSeries]:
    """Means per interval of what was sampled inside the window, by name."""
    series = []
    for one in sorted(samples, key=lambda one: one.name):
        inside = (one.times_s >= 0) & (one.times_s <= last_s)
        places, of_sample = np.unique(one.times_s[inside] // every_s, return_inverse=True)
        means = np.bincount(of_sample, one.values[inside]) / np.bincount(of_sample)
        if len(places):
            series.append(TimeSeries(one.name, one.unit, (places + 1) * every_s, means))
    return series


def _samples(telemetry: Path) -> list[TimeSeries]:
    try:
        return time_series.read(telemetry) if telemetry.is_file() else []
    except (OSError, pa.ArrowException):
        return []


def _prefixed(prefix: str, series: list[TimeSeries]) -> list[TimeSeries]:
    return [TimeSeries(prefix + one.name, one.unit, one.times_s, one.values) for one in series]


def _edges(every_s: float, last_s: float) -> Values:
    return np.arange(math.ceil(last_s / every_s) + 1) * every_s


def _mean_number(spans: list[tuple[float, float]], edges: Values) -> Values:
    """Mean number of spans that are open, per interval between edges [n + 1] -> [n]."""
    starts, ends = (np.sort([span[side] for span in spans]) for side in (0, 1))
    opened = _time_since(starts, edges) - _time_since(ends, edges)
    return np.asarray(np.diff(opened) / np.diff(edges))


def _time_since(events: Values, edges: Values) -> Values:
    """Sum over events of the time from each to the edge, where the event came first."""
    before = np.searchsorted(events, edges)
    sums = np.concatenate([[0.0], np.cumsum(events)])
    return np.asarray(before * edges - sums[before])


def _mean_held(times: Values, values: Values, edges: Values) -> Values:
    """Time-weighted mean per interval of a quantity that is values[i] from times[i] until times[i + 1]; 0 before."""
    order = np.argsort(times, kind="stable")
    times, values = times[order], values[order].astype(np.float64)
    areas = np.concatenate([[0.0], np.cumsum(values[:-1] * np.diff(times))])
    last = np.searchsorted(times, edges, side="right") - 1
    place = np.maximum(last, 0)
    until = np.where(last < 0, 0.0, areas[place] + values[place] * (edges - times[place]))
    return np.asarray(np.diff(until) / np.diff(edges))
