"""Why a request is refused or fails: one exception with an HTTP status, shown in each protocol's own shape."""

from __future__ import annotations

import orjson

from serving.engine.request import PROMPT_TOO_LONG, Cancelled, Failed, InvalidRequest, QueueFull, Unavailable

CLIENT_LEFT = 499  # nginx's number for a client that closed first; for accounts only, nobody is left to read it
_OPENAI_TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}


class RequestError(Exception):
    """Answer with `status`; `field` is the request's own name for what is wrong, "" if it is no single field."""

    def __init__(
        self, status: int, kind: str, message: str, *, field: str = "", headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind  # snake_case, stable: for programs
        self.message = message  # one line: for people
        self.field = field
        self.headers = headers or {}


def invalid(field: str, message: str, kind: str = "invalid_request") -> RequestError:
    """A 400 that names the field."""
    return RequestError(400, kind, f"{field}: {message}", field=field)


def unknown_model(asked: str, served: str) -> RequestError:
    """Only one model is served."""
    message = f'model: "{asked}" is not served here; "{served}" is'
    return RequestError(404, "model_not_found", message, field="model")


def from_submit(error: QueueFull | Unavailable | InvalidRequest, fields: dict[str, str]) -> RequestError:
    """The engine refused: `fields` translates its field names into the client's."""
    if isinstance(error, QueueFull):
        return RequestError(429, "queue_full", str(error), headers={"Retry-After": str(error.retry_after_s)})
    if isinstance(error, Unavailable):
        return RequestError(503, "unavailable", str(error), headers={"Retry-After": "1"})
    return invalid(fields.get(error.field, error.field), error.message, error.kind)


def from_ending(ending: Failed | Cancelled) -> RequestError:
    """Generation broke, or was ended early: what the client is told, by status if nothing was sent yet."""
    if isinstance(ending, Cancelled):
        return RequestError(CLIENT_LEFT, "cancelled", ending.reason)
    status = 503 if ending.kind in ("agent_lost", "shutdown") else 500
    return RequestError(status, ending.kind, ending.message)


def openai_body(error: RequestError) -> bytes:
    """{"error": {...}} as OpenAI's API reference has it; `param` is the field."""
    code = "context_length_exceeded" if error.kind == PROMPT_TOO_LONG else error.kind
    kind = _OPENAI_TYPES.get(error.status, "invalid_request_error" if error.status < 500 else "server_error")
    fields = {"message": error.message, "type": kind, "param": error.field or None, "code": code}
    return orjson.dumps({"error": fields})


def judge_body(error: RequestError) -> bytes:
    """One JSON line; `finish_reason` is the original's word where it has one."""
    fields = {"event": "error", "finish_reason": error.kind, "field": error.field or None, "message": error.message}
    return orjson.dumps(fields) + b"\n"
