"""OpenAI's completion and chat replies: server-sent events, or one JSON object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from serving.engine.request import Cancelled, Event, Failed, Finished, Token
from serving.frontend import logprobs
from serving.frontend.errors import from_ending, openai_body
from serving.frontend.json_text import ascii_text, dumps
from serving.frontend.openai_request import OpenAiRequest
from serving.frontend.output_text import OutputText
from serving.frontend.reply import timings_field
from serving.tokenizer.tokenizer import Tokenizer

_REASONS = {"eos": "stop", "stop": "stop", "length": "length"}


class OpenAiReply:
    """One chunk per batch of events, so per token unless the client's reader lags; then usage if asked, then [DONE].

    The chunk with the last token carries the finish reason too, if both came together.
    """

    stream_type = "text/event-stream; charset=utf-8"
    whole_type = "application/json"
    breaks_off = False  # clients look for the error event; some lose what came just before a broken end

    def __init__(
        self,
        request: OpenAiRequest,
        text: OutputText,
        tokenizer: Tokenizer,
        *,
        request_id: str,
        model: str,
        created_s: int,
        num_prompt_tokens: int,
    ) -> None:
        self._request = request
        self._text = text
        self._tokenizer = tokenizer
        self._num_prompt_tokens = num_prompt_tokens
        self._timings = request.generation.extension.timings
        self._wants_logprobs = request.generation.top_logprobs is not None
        kind = "text_completion"
        if request.is_chat:
            kind = "chat.completion.chunk" if request.stream else "chat.completion"
        self._head = {"id": request_id, "object": kind, "created": created_s, "model": model}
        self._begun = not request.is_chat  # a chat stream begins with a chunk that names the role
        self._num_chars = 0
        self._tokens: list[Token] = []
        self._offsets: list[int] = []
        self._pieces: list[str] = []

    @property
    def stopped(self) -> bool:
        return self._text.stopped

    def stream(self, events: Sequence[Event]) -> bytes:
        self.collect(events)
        chunks = []
        if not self._begun:
            self._begun = True
            chunks.append(self._role_chunk())
        last = events[-1]
        finished = last if isinstance(last, Finished) else None
        if self._tokens or finished is not None:
            chunks.append(self._chunk(finished))
        if finished is not None:
            if self._request.include_usage:
                chunks.append(_event({**self._head, "choices": [], "usage": self._usage(finished)}))
            chunks.append(b"data: [DONE]\n\n")
        elif isinstance(last, Failed | Cancelled):
            chunks.append(b"data: " + openai_body(from_ending(last)) + b"\n\n")
        self._tokens, self._offsets, self._pieces = [], [], []
        return b"".join(chunks)

    def collect(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, Token) and not self._text.stopped:
                piece = self._text.push(event)
                self._tokens.append(event)
                self._pieces.append(piece)
                if self._wants_logprobs:
                    self._offsets.append(self._num_chars)
                    self._num_chars += len(piece)

    def whole(self, finished: Finished) -> bytes:
        text = "".join(self._pieces)
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = self._choice({"message": message} if self._request.is_chat else {"text": text}, finished)
        return dumps({**self._head, "choices": [choice], "usage": self._usage(finished), **self._extra(finished)})

    def _role_chunk(self) -> bytes:
        delta = {"role": "assistant", "content": ""}
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
        usage = {"usage": None} if self._request.include_usage else {}
        return _event({**self._head, "choices": [choice], **usage})

    def _chunk(self, finished: Finished | None) -> bytes:
        text = ascii_text("".join(self._pieces))
        choice = self._choice({"delta": {"content": text}} if self._request.is_chat else {"text": text}, finished)
        content = {**self._head, "choices": [choice]}
        if self._request.include_usage or self._request.continuous_usage:
            content["usage"] = self._usage(finished) if self._request.continuous_usage else None
        return _event({**content, **self._extra(finished)})

    def _choice(self, content: dict[str, Any], finished: Finished | None) -> dict[str, Any]:
        reason = None
        if finished is not None:
            reason = "stop" if self._text.stopped else _REASONS[finished.reason]
        choice = {"index": 0, **content, "logprobs": self._logprobs(), "finish_reason": reason}
        if self._request.return_token_ids:
            choice["token_ids"] = [token.token_id for token in self._tokens]
        return choice

    def _logprobs(self) -> dict[str, Any] | None:
        if not self._wants_logprobs or not self._tokens:
            return None
        if self._request.is_chat:
            return logprobs.for_chat(self._tokens, self._tokenizer)
        return logprobs.for_completion(self._tokens, self._offsets, self._tokenizer)

    def _usage(self, finished: Finished | None) -> dict[str, Any]:
        num_prompt, num_output = self._num_prompt_tokens, self._text.num_tokens
        return {
            "prompt_tokens": num_prompt,
            "completion_tokens": num_output,
            "total_tokens": num_prompt + num_output,
            "prompt_tokens_details": {"cached_tokens": 0 if finished is None else finished.num_cached_tokens},
        }

    def _extra(self, finished: Finished | None) -> dict[str, Any]:
        return timings_field(finished.timings) if finished is not None and self._timings else {}


def _event(content: dict[str, Any]) -> bytes:
    return b"data: " + dumps(content) + b"\n\n"
