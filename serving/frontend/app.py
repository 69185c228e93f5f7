"""Every HTTP request comes through here: key, route, outcome. Knows neither protocol's content."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from serving.config import StackConfig
from serving.frontend import accounting
from serving.frontend.accounting import Accounting
from serving.frontend.engine_port import EnginePort
from serving.frontend.errors import CLIENT_LEFT, RequestError, judge_body, openai_body
from serving.frontend.generate import Answer, Generator
from serving.frontend.pages import Pages
from serving.tokenizer.tokenizer import Tokenizer

_log = logging.getLogger(__name__)
_OPEN_PATHS = ("/healthz", "/readyz")  # need no key: probes seldom have one


class App:
    """The handler of a `web.Server`, aiohttp's low-level server: a dozen fixed paths need no router."""

    def __init__(self, stack: StackConfig, engine: EnginePort, tokenizer: Tokenizer) -> None:
        self._stack = stack
        self._expected = f"Bearer {stack.serving.http.api_key}".encode() if stack.serving.http.api_key else b""
        self._account = Accounting()
        generator = Generator(stack, engine, tokenizer)
        self._pages = Pages(stack, engine, self._account)
        self._generating: dict[str, tuple[str, Callable[[web.BaseRequest], Awaitable[Answer]]]] = {
            "/models/llama2": ("judge", lambda request: generator.judge(request, None)),
            "/models/llama2/generate": ("judge", lambda request: generator.judge(request, False)),
            "/models/llama2/generate_stream": ("judge", lambda request: generator.judge(request, True)),
            "/v1/completions": ("completions", generator.completion),
            "/v1/chat/completions": ("chat", generator.chat),
        }
        pages = self._pages
        self._reading: dict[str, Callable[[], web.Response]] = {
            "/healthz": pages.healthz,
            "/readyz": pages.readyz,
            "/stats": pages.stats,
            "/stats/steps": pages.steps,
            "/metrics": pages.metrics,
            "/v1/models": pages.models,
            "/serving/get_bs": pages.batch_size,
            "/serving/get_request_numbers": pages.request_numbers,
            "/serving/get_serverd_model_info": pages.served_model_info,
        }

    def server(self) -> web.Server:
        """An aiohttp server; a client that closes its connection cancels its handler at once."""
        return web.Server(
            self.handle,
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=self._stack.serving.http.idle_timeout_s,
            lingering_time=5.0,
        )

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; books each generation's outcome exactly once."""
        path = request.path
        generating = self._generating.get(path) if request.method == "POST" else None
        if generating is None:
            try:
                self._authorize(request)
                return self._read(request.method, path)
            except RequestError as error:
                return _refusal(path, error)
        protocol, generate = generating
        self._account.num_received += 1
        try:
            self._authorize(request)
            response, outcome = await generate(request)
        except RequestError as error:
            self._account.refused(protocol, error.status)
            return _refusal(path, error)
        except asyncio.CancelledError:
            self._account.refused(protocol, CLIENT_LEFT)
            raise
        except Exception:
            _log.exception("%s %s broke", request.method, path)
            self._account.ended(protocol, accounting.FAILED)
            return _refusal(path, RequestError(500, "internal_error", "the server broke; its log says how"))
        self._account.ended(protocol, outcome)
        return response

    def _authorize(self, request: web.BaseRequest) -> None:
        if not self._expected or request.path in _OPEN_PATHS:
            return
        given = request.headers.get("Authorization", "").encode(errors="replace")
        if not hmac.compare_digest(given, self._expected):
            message = "missing or wrong key: send Authorization: Bearer … (serving.http.api_key)"
            raise RequestError(401, "invalid_api_key", message, headers={"WWW-Authenticate": "Bearer"})

    def _read(self, method: str, path: str) -> web.Response:
        page = self._reading.get(path)
        if page is not None or path.startswith("/v1/models/"):
            if method not in ("GET", "HEAD"):
                raise _method_not_allowed(path, "GET")
            return page() if page is not None else self._pages.model(path.removeprefix("/v1/models/"))
        if path in self._generating:
            raise _method_not_allowed(path, "POST")
        if path.startswith("/models/"):
            message = (
                f"no such endpoint: {path}; the judge protocol's are /models/llama2, …/generate, …/generate_stream"
            )
            raise RequestError(404, "model_not_found", message)
        raise RequestError(404, "not_found", f"no such endpoint: {path}")


def _method_not_allowed(path: str, allowed: str) -> RequestError:
    return RequestError(405, "method_not_allowed", f"{path} takes {allowed} only", headers={"Allow": allowed})


def _refusal(path: str, error: RequestError) -> web.Response:
    body = judge_body(error) if path.startswith(("/models/", "/serving/")) else openai_body(error)
    response = web.Response(body=body, status=error.status, headers=error.headers, content_type="application/json")
    if error.headers.get("Connection") == "close":
        response.force_close()
    return response
