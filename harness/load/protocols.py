"""The wire protocols, seen from the client: prompts to request bytes, reply bytes to tokens. No sockets, no clocks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import orjson

from harness.config import ClientProtocol
from harness.load.json_lines import JsonLinesDecoder
from harness.load.prompts import Prompt
from harness.load.sse import SseDecoder

_PATHS = {
    ClientProtocol.judge: "/models/llama2/generate_stream",
    ClientProtocol.completions: "/v1/completions",
    ClientProtocol.chat: "/v1/chat/completions",
}
# What the original stack sends in place of a status code.
_JUDGE_FAILURES = ("predict_failed", "prompt_out_of_range", "prompt_token_ids_empty")


@dataclass
class RequestOptions:
    """What every request of a run has in common."""

    protocol: ClientProtocol
    model_name: str = ""
    ignore_eos: bool = True
    return_token_ids: bool = False  # OpenAI protocols: ask for token ids in every chunk (vLLM's extension)
    server_timings: bool = False  # ask our stack for queue, prefill and decode times
    api_key: str = ""
    extra_body: dict[str, Any] = field(default_factory=dict)  # further top-level fields


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go."""

    host: str
    port: int
    tls: bool
    prefix: str  # path before the protocol's own


def target(url: str) -> Target:
    """Parse a server's base URL. Raises ValueError with one line."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"serving.url={url!r}: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"serving.url={url!r}: must look like http://host:port")
    tls = parts.scheme == "https"
    prefix = parts.path.rstrip("/").removesuffix("/v1")
    return Target(parts.hostname, port or (443 if tls else 80), tls, prefix)


def encode(where: Target, options: RequestOptions, prompt: Prompt) -> bytes:
    """The whole HTTP/1.1 request. Raises ValueError if the protocol cannot carry the prompt."""
    body = orjson.dumps(payload(options, prompt))
    host = f"[{where.host}]" if ":" in where.host else where.host
    lines = [
        f"POST {where.prefix}{_PATHS[options.protocol]} HTTP/1.1",
        f"Host: {host}:{where.port}",
        "Content-Type: application/json",
        "Accept: text/event-stream",
        f"Content-Length: {len(body)}",
    ]
    if options.api_key:
        lines.append(f"Authorization: Bearer {options.api_key}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def payload(options: RequestOptions, prompt: Prompt) -> dict[str, Any]:
    """The request's JSON body: greedy, streamed, exactly `max_new_tokens` if the server honours ignore_eos."""
    if options.protocol is not ClientProtocol.completions and prompt.text is None:
        raise ValueError(f"workload.protocol={options.protocol}: cannot carry token ids; use completions")
    extra: dict[str, Any] = {**options.extra_body, **prompt.extra}
    if options.ignore_eos:
        extra["ignore_eos"] = True
    if options.server_timings:
        extra["plumbline"] = {**extra.get("plumbline", {}), "timings": True}
    if options.protocol is ClientProtocol.judge:
        parameters = {
            "max_new_tokens": prompt.max_new_tokens,
            "do_sample": "False",  # the contest client sends booleans as text
            "return_full_text": "True",
            **extra,
        }
        return {"inputs": prompt.text, "parameters": parameters}
    content: dict[str, Any] = {"model": options.model_name}
    if options.protocol is ClientProtocol.chat:
        content["messages"] = [{"role": "user", "content": prompt.text}]
    else:
        content["prompt"] = prompt.text if prompt.text is not None else prompt.token_ids
    if options.return_token_ids:
        content["return_token_ids"] = True
    return {
        **content,
        "max_tokens": prompt.max_new_tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
        **extra,
    }


@dataclass
class Reply:
    """What a stream said. `ended`: it carried its own end mark. `output_tokens`: the server's count, if given."""

    ended: bool = False
    error: str = ""  # what the server said went wrong
    malformed: str = ""  # why the stream cannot be understood
    text: str = ""
    finish_reason: str = ""
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    token_ids: list[int] = field(default_factory=list)
    chunk_times_ns: list[int] = field(default_factory=list)
    chunk_tokens: list[int] = field(default_factory=list)
    timings: dict[str, float] = field(default_factory=dict)

    def add_chunk(self, time_ns: int, num_tokens: int) -> None:
        """Count a message that carries tokens."""
        if num_tokens:
            self.chunk_times_ns.append(time_ns)
            self.chunk_tokens.append(num_tokens)


def parse(protocol: ClientProtocol, pieces: Iterable[tuple[int, bytes]]) -> Reply:
    """Decode a stream's body from (arrival time, bytes) pieces. What cannot be understood sets `malformed`."""
    reply = Reply()
    try:
        if protocol is ClientProtocol.judge:
            _parse_judge(reply, pieces)
        else:
            _parse_openai(reply, pieces)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        reply.malformed = f"{type(error).__name__}: {error}"
    return reply


def _parse_judge(reply: Reply, pieces: Iterable[tuple[int, bytes]]) -> None:
    lines = JsonLinesDecoder()
    deltas: list[str] = []
    for time_ns, piece in pieces:
        for value in lines.feed(piece):
            _judge_line(reply, deltas, time_ns, value)
    for value in lines.flush():
        _judge_line(reply, deltas, reply.chunk_times_ns[-1] if reply.chunk_times_ns else 0, value)
    reply.text = reply.text or "".join(deltas)


def _judge_line(reply: Reply, deltas: list[str], time_ns: int, value: dict[str, Any]) -> None:
    _timings(reply, value)
    if value.get("error"):
        reply.error = _message(value["error"])
        return
    data = value["data"][0] if isinstance(value["data"], list) else value["data"]  # the fork sends no list
    if value.get("event") == "error":
        reply.error = _message(data.get("details") or data.get("generated_text"))
        return
    _timings(reply, data)
    if data.get("finish_reason") is None:
        reply.token_ids.append(data["tokens"]["id"])
        reply.add_chunk(time_ns, 1)
        deltas.append(data["generated_text"])
        return
    reply.ended, reply.finish_reason, reply.text = True, data["finish_reason"], data["generated_text"]
    reply.output_tokens = data.get("generated_tokens")
    if data["finish_reason"] in _JUDGE_FAILURES:
        reply.error = f"{data['finish_reason']}: {data['generated_text']}"


def _parse_openai(reply: Reply, pieces: Iterable[tuple[int, bytes]]) -> None:
    decoder = SseDecoder()
    texts: list[str] = []
    for time_ns, piece in pieces:
        for event in decoder.feed(piece):
            if event.data == "[DONE]":
                reply.ended = True
                continue
            value = orjson.loads(event.data)
            _timings(reply, value)
            if value.get("error"):
                reply.error = _message(value["error"])
                continue
            usage = value.get("usage")
            if usage:
                reply.prompt_tokens, reply.output_tokens = usage["prompt_tokens"], usage["completion_tokens"]
            for choice in value.get("choices", []):
                texts.append(_choice(reply, choice, time_ns))
    reply.ended = reply.ended or bool(reply.finish_reason)
    reply.text = "".join(texts)


def _choice(reply: Reply, choice: dict[str, Any], time_ns: int) -> str:
    delta = choice.get("delta")
    text: str = (choice.get("text") if delta is None else delta.get("content")) or ""
    ids = choice.get("token_ids")
    finish_reason = choice.get("finish_reason")
    if ids is not None:
        num_tokens = len(ids)
        reply.token_ids += ids
    elif text:
        num_tokens = 1
    else:
        # A token may have no text of its own (half a character); an opening role message or a closing one is no token.
        num_tokens = int(delta is None and finish_reason is None)
    reply.add_chunk(time_ns, num_tokens)
    if finish_reason is not None:
        reply.finish_reason = finish_reason
    return text


def _timings(reply: Reply, value: dict[str, Any]) -> None:
    ours = value.get("plumbline")
    if ours:
        reply.timings.update(ours.get("timings", ours))


def _message(error: Any) -> str:
    text = error.get("message", error) if isinstance(error, dict) else error
    return " ".join(str(text).split())[:300]
