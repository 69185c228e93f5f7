"""The timed server's replies: request body in, HTTP response pieces out. Token k of a reply is the text " k"."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import Any

_HEAD = (
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
    "Cache-Control: no-cache\r\nX-Request-Id: {request_id}\r\n\r\n"
)
_END = b"0\r\n\r\n"


class Reply(ABC):
    """One streamed reply of a fixed number of tokens."""

    num_tokens: int

    def token(self, k: int, request_id: str) -> bytes:
        """The bytes that carry token k (0-based); those of token 0 begin with the response head."""
        chunk = _chunk(self.message(k))
        return _HEAD.format(request_id=request_id).encode() + chunk if k == 0 else chunk

    @abstractmethod
    def message(self, k: int) -> bytes:
        """Token k as the protocol's stream message."""

    @abstractmethod
    def end(self) -> bytes:
        """What follows the last token."""


class JudgeReply(Reply):
    """Newline-terminated JSON and a last line with the full text."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.num_tokens = int(body["parameters"]["max_new_tokens"])

    def message(self, k: int) -> bytes:
        token = {"id": k, "logprob": 0.0, "special": False, "text": f" {k}"}
        return _judge_line({"details": None, "generated_text": f" {k}", "tokens": token, "top_tokens": [token]})

    def end(self) -> bytes:
        text = "".join(f" {k}" for k in range(self.num_tokens))
        counts = {"generated_tokens": self.num_tokens, "seed": 0}
        return (
            _chunk(_judge_line({"details": None, "generated_text": text, "finish_reason": "length", **counts})) + _END
        )


class OpenAIReply(Reply):
    """Server-sent events of /v1/completions or /v1/chat/completions."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.num_tokens = int(body.get("max_tokens") or body.get("max_completion_tokens") or 16)
        self._chat = "messages" in body
        self._model = body.get("model", "reference")
        prompt = body.get("prompt", "")
        usage = {"prompt_tokens": len(prompt) if isinstance(prompt, list) else 1, "completion_tokens": self.num_tokens}
        self._usage = {**usage, "total_tokens": sum(usage.values())}

    def message(self, k: int) -> bytes:
        text: dict[str, Any] = {"delta": {"content": f" {k}"}} if self._chat else {"text": f" {k}"}
        reason = "length" if k + 1 == self.num_tokens else None
        return self._event([{"index": 0, **text, "logprobs": None, "finish_reason": reason}])

    def end(self) -> bytes:
        return _chunk(self._event([], usage=self._usage)) + _chunk(b"data: [DONE]\n\n") + _END

    def _event(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        kind = "chat.completion.chunk" if self._chat else "text_completion"
        content = {"id": "cmpl", "object": kind, "created": 0, "model": self._model, "choices": choices, **more}
        return b"data: " + json.dumps(content).encode() + b"\n\n"


def reply_for(path: str, body: dict[str, Any]) -> Reply:
    """The reply to a POST."""
    return JudgeReply(body) if path.startswith("/models/") else OpenAIReply(body)


def models_reply(path: str) -> bytes:
    """The whole response to a GET: a model list, which also serves as a health page."""
    models = [{"id": "reference", "object": "model", "created": 0, "owned_by": "plumbline"}]
    body = json.dumps({"object": "list", "data": models} if path.endswith("/models") else {"status": "ok"}).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def _judge_line(data: dict[str, Any]) -> bytes:
    return json.dumps({"event": "message", "retry": 30000, "data": [data]}).encode() + b"\n"


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
