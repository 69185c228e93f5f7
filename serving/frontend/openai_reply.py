"""OpenAI's completion and chat replies: server-sent events, or one JSON object."""

from __future__ import annotations

from collections.abc import Sequence

from serving.engine.request import Cancelled, Event, Failed, Finished, Token
from serving.frontend import logprobs
from serving.frontend.errors import RequestError, from_ending, openai_body
from serving.frontend.json_text import quote
from serving.frontend.openai_request import OpenAiRequest
from serving.frontend.output_text import OutputText
from serving.frontend.reply import timings_json
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
        created = f'"created":{created_s},"model":{quote(model)}'
        self._head = f'{{"id":{quote(request_id)},"object":"{kind}",{created},'
        if request.is_chat:
            self._text_head, self._text_end = '"delta":{"content":', "}"
            first = '"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null'
            usage = ',"usage":null' if request.include_usage else ""
            self._begin = f'data: {self._head}"choices":[{{"index":0,{first}}}]{usage}}}\n\n'
        else:
            self._text_head, self._text_end = '"text":', ""
            self._begin = ""
        self._num_chars = 0
        self._tokens: list[Token] = []
        self._offsets: list[int] = []
        self._pieces: list[str] = []

    @property
    def stopped(self) -> bool:
        return self._text.stopped

    def stream(self, events: Sequence[Event]) -> bytes:
        self.collect(events)
        body, self._begin = self._begin, ""
        last = events[-1]
        if isinstance(last, Finished):
            body += self._chunk(last) + self._usage_chunk(last) + "data: [DONE]\n\n"
        elif self._tokens:
            body += self._chunk(None)
        if isinstance(last, Failed | Cancelled):
            return body.encode("ascii") + b"data: " + openai_body(from_ending(last)) + b"\n\n"
        self._tokens, self._offsets, self._pieces = [], [], []
        return body.encode("ascii")

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
        text = quote("".join(self._pieces))
        content = f'"message":{{"role":"assistant","content":{text},"refusal":null}}'
        choice = self._choice(content if self._request.is_chat else f'"text":{text}', finished)
        return f'{self._head}"choices":[{choice}],"usage":{self._usage(finished)}{self._extra(finished)}}}'.encode(
            "ascii"
        )

    def error(self, error: RequestError) -> bytes:
        return openai_body(error)

    def _chunk(self, finished: Finished | None) -> str:
        text = f"{self._text_head}{quote(''.join(self._pieces))}{self._text_end}"
        usage = ""
        if self._request.continuous_usage:
            usage = f',"usage":{self._usage(finished)}'
        elif self._request.include_usage:
            usage = ',"usage":null'
        return f'data: {self._head}"choices":[{self._choice(text, finished)}]{usage}{self._extra(finished)}}}\n\n'

    def _choice(self, text: str, finished: Finished | None) -> str:
        reason = "null"
        if finished is not None:
            reason = '"stop"' if self._text.stopped else f'"{_REASONS[finished.reason]}"'
        ids = ""
        if self._request.return_token_ids:
            ids = f',"token_ids":[{",".join(str(token.token_id) for token in self._tokens)}]'
        return f'{{"index":0,{text},"logprobs":{self._logprobs()},"finish_reason":{reason}{ids}}}'

    def _logprobs(self) -> str:
        if not self._wants_logprobs or not self._tokens:
            return "null"
        if self._request.is_chat:
            return quote(logprobs.for_chat(self._tokens, self._tokenizer))
        return quote(logprobs.for_completion(self._tokens, self._offsets, self._tokenizer))

    def _usage(self, finished: Finished | None) -> str:
        num_prompt, num_output = self._num_prompt_tokens, self._text.num_tokens
        cached = 0 if finished is None else finished.num_cached_tokens
        return (
            f'{{"prompt_tokens":{num_prompt},"completion_tokens":{num_output},"total_tokens":{num_prompt + num_output},'
            f'"prompt_tokens_details":{{"cached_tokens":{cached}}}}}'
        )

    def _usage_chunk(self, finished: Finished) -> str:
        if not self._request.include_usage:
            return ""
        return f'data: {self._head}"choices":[],"usage":{self._usage(finished)}}}\n\n'

    def _extra(self, finished: Finished | None) -> str:
        return f',"plumbline":{timings_json(finished.timings)}' if finished is not None and self._timings else ""
