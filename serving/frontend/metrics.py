"""/metrics: Engine.stats() and the account in Prometheus's text format, read at each scrape and never in between."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from serving.frontend.accounting import Accounting
from serving.frontend.engine_port import EnginePort

CONTENT_TYPE = CONTENT_TYPE_LATEST
_AGENT_GAUGES = {
    "requests_live": "Requests submitted and not ended",
    "requests_waiting": "Requests in the queue",
    "requests_running": "Sequences in the running batch",
    "batch_size_limit": "Most sequences in one decode step (serving.batch.decode)",
    "kv_blocks_total": "KV cache blocks that sequences may use",
    "kv_blocks_used": "KV cache blocks in use",
}
_AGENT_COUNTERS = {
    "agents_attached": "Agents that have connected for this device: one more than restarts",
    "preemptions": "Sequences that lost their blocks and were computed again",
    "prefix_prompt_tokens": "Prompt tokens that prefix reuse looked at",
    "prefix_reused_tokens": "Prompt tokens that prefix reuse saved",
}


class Metrics(Collector):
    """A registry of its own: nothing global, nothing about the Python process."""

    def __init__(self, engine: EnginePort, account: Accounting) -> None:
        self._engine = engine
        self._account = account
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        """The page."""
        return generate_latest(self._registry)

    def describe(self) -> list[Metric]:
        """Nothing to announce; keeps `register` from collecting before the engine has started."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Called by the registry at each scrape."""
        stats = self._engine.stats()
        ready = GaugeMetricFamily("plumbline_ready", "1 if a request would be served")
        ready.add_metric([], float(self._engine.state[0] == "ready"))
        yield ready
        yield from self._http()
        requests: dict[str, int] = stats["requests"]
        for name in ("prompt_tokens", "output_tokens"):
            yield CounterMetricFamily(f"plumbline_{name}", f"Tokens, {name.split('_')[0]}", value=requests[name])
        ended = CounterMetricFamily(
            "plumbline_engine_requests", "Requests in the engine by outcome", labels=["outcome"]
        )
        for name, count in requests.items():
            if name not in ("prompt_tokens", "output_tokens", "finished", "submitted"):
                ended.add_metric([name], count)
        yield ended
        yield from self._agents(stats["agents"])

    def _http(self) -> Iterator[Metric]:
        ended = CounterMetricFamily(
            "plumbline_http_requests", "Generation requests by outcome", labels=["protocol", "outcome"]
        )
        for (protocol, outcome), count in sorted(self._account.outcomes.items()):
            ended.add_metric([protocol, outcome], count)
        yield ended
        is_open = GaugeMetricFamily("plumbline_http_requests_open", "Generation requests that have not ended")
        is_open.add_metric([], self._account.num_open)
        yield is_open

    def _agents(self, agents: list[dict[str, Any]]) -> Iterator[Metric]:
        for name, text in _AGENT_GAUGES.items():
            gauge = GaugeMetricFamily(f"plumbline_{name}", text, labels=["device"])
            for agent in agents:
                gauge.add_metric([str(agent["device_index"])], agent[name])
            yield gauge
        for name, text in _AGENT_COUNTERS.items():
            counter = CounterMetricFamily(f"plumbline_{name}", text, labels=["device"])
            for agent in agents:
                counter.add_metric([str(agent["device_index"])], agent[name])
            yield counter
        steps = HistogramMetricFamily("plumbline_step_seconds", "Time of a step", labels=["device", "kind"])
        for agent in agents:
            for kind, histogram in agent["step_time_histogram"].items():
                bounds = [*map(str, histogram["upper_bounds_s"]), "+Inf"]
                buckets = list(zip(bounds, map(float, histogram["cumulative_counts"]), strict=True))
                steps.add_metric([str(agent["device_index"]), kind], buckets, histogram["sum_s"])
        yield steps
