"""The GET endpoints: what runs here, how it is doing. Each answers with a small document, none touches a generation."""

from __future__ import annotations

import time
from typing import Any

import orjson
from aiohttp import web

from serving.config import DeviceConfig, StackConfig
from serving.frontend.accounting import Accounting
from serving.frontend.engine_port import EnginePort
from serving.frontend.errors import unknown_model
from serving.frontend.metrics import CONTENT_TYPE, Metrics


class Pages:
    """Read-only views of the configuration and of Engine.stats()."""

    def __init__(self, stack: StackConfig, engine: EnginePort, account: Accounting) -> None:
        self._stack = stack
        self._engine = engine
        self._account = account
        self._metrics = Metrics(engine, account)
        self._started_s = time.time()
        self._started_ns = time.monotonic_ns()

    def healthz(self) -> web.Response:
        """200 as long as the process answers."""
        return _json({"status": "live"})

    def readyz(self) -> web.Response:
        """200 once a request would be served, else 503; the body says why."""
        status, detail = self._engine.state
        return _json({"status": status, "detail": detail}, 200 if status == "ready" else 503)

    def stats(self) -> web.Response:
        """Everything countable, as JSON."""
        return _json(
            {
                "model": self._stack.model.name,
                "uptime_s": (time.monotonic_ns() - self._started_ns) / 1e9,
                "http": self._account.to_json(),
                "engine": self._engine.stats(),
            }
        )

    def steps(self) -> web.Response:
        """Sizes and timings of the newest steps, one by one (serving.num_steps_kept)."""
        return _json(self._engine.steps())

    def metrics(self) -> web.Response:
        """The same for Prometheus."""
        return web.Response(body=self._metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    def models(self) -> web.Response:
        """GET /v1/models: the one that is served."""
        return _json({"object": "list", "data": [self._model()]})

    def model(self, name: str) -> web.Response:
        """GET /v1/models/NAME. Raises RequestError 404."""
        if name != self._stack.model.name:
            raise unknown_model(name, self._stack.model.name)
        return _json(self._model())

    def _model(self) -> dict[str, Any]:
        model = self._stack.model
        created_s = int(self._started_s)
        fields = {"id": model.name, "object": "model", "created": created_s, "owned_by": "plumbline"}
        return fields | {"max_model_len": model.seq_length}

    def batch_size(self) -> web.Response:
        """GET /serving/get_bs: sequences in the running batch."""
        return _judge_number(sum(agent["requests_running"] for agent in self._engine.stats()["agents"]))

    def request_numbers(self) -> web.Response:
        """GET /serving/get_request_numbers: requests that wait."""
        return _judge_number(sum(agent["requests_waiting"] for agent in self._engine.stats()["agents"]))

    def served_model_info(self) -> web.Response:
        """GET /serving/get_serverd_model_info (the original's spelling): sizes, in the original's fields."""
        serving, model, device = self._stack.serving, self._stack.model, self._stack.device
        live = sum(agent["requests_live"] for agent in self._engine.stats()["agents"])
        return _json(
            {
                "docker_label": "",
                "max_batch_total_tokens": model.seq_length * serving.batch.decode,
                "max_concurrent_requests": live,
                "max_input_length": model.seq_length,
                "max_total_tokens": serving.batch.decode,
                "model_device_type": _device_type(device),
                "model_dtype": device.dtype,
                "model_id": model.name,
                "model_pipeline_tag": "text-generation",
                "version": "2.3",
            }
        )


def _device_type(device: DeviceConfig) -> str:
    return "CANN" if device.target == "Ascend" else device.target


def _judge_number(value: int) -> web.Response:
    return _json({"event": "message", "retry": 30000, "data": value})


def _json(content: dict[str, Any], status: int = 200) -> web.Response:
    body = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)
    return web.Response(body=body, status=status, content_type="application/json")
