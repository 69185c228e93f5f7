"""The contest protocol's replies: newline-terminated JSON and nothing else, as its official client expects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from serving.engine.request import Event, Finished, Token
from serving.frontend.errors import from_ending
from serving.frontend.json_text import ascii_text, dumps
from serving.frontend.output_text import OutputText
from serving.frontend.reply import timings_field


class JudgeReply:
    """One line per token, also for an empty piece of text, then (if asked for) one with the whole text.

    `as_dict` and `drop_last_text` are the quirks serving.http.judge_data_as_dict and judge_drop_last_text.
    """

    # requests, which the official client uses, takes text without a charset for Latin-1
    stream_type = "text/event-stream; charset=utf-8"
    whole_type = "application/json; charset=utf-8"
    breaks_off = True  # the official client takes whatever line comes last for the answer

    def __init__(
        self,
        text: OutputText,
        is_special: Callable[[int], bool],
        *,
        full_text: bool,
        timings: bool,
        as_dict: bool = False,
        drop_last_text: bool = False,
    ) -> None:
        self._text = text
        self._is_special = is_special
        self._keeps = full_text
        self._timings = timings
        self._as_dict = as_dict
        self._drop_last_text = drop_last_text
        self._tokens: list[dict[str, Any]] = []  # for the last line
        self._pieces: list[str] = []

    @property
    def stopped(self) -> bool:
        return self._text.stopped

    def stream(self, events: Sequence[Event]) -> bytes:
        lines = []
        for event in events:
            if isinstance(event, Token):
                if not self._text.stopped:
                    piece, token = self._push(event)
                    if self._keeps:
                        self._pieces.append(piece)
                        self._tokens.append(token)
                    data = {"generated_text": token["text"], "tokens": token, "top_tokens": [token]}
                    lines.append(self._message(data))
            elif isinstance(event, Finished):
                if self._keeps:
                    lines.append(self._message(self._all(event)))
                elif self._timings:
                    ending = {"generated_text": "", "finish_reason": self._reason(event)}
                    lines.append(self._message(ending | timings_field(event.timings)))
            else:
                failure = {"generated_text": "", "finish_reason": "predict_failed"}
                lines.append(self._line("error", {"details": from_ending(event).message, **failure}))
        return b"".join(lines)

    def collect(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, Token) and not self._text.stopped:
                piece, token = self._push(event)
                self._pieces.append(piece)
                self._tokens.append(token)

    def whole(self, finished: Finished) -> bytes:
        return dumps({**self._all(finished), "details": None}) + b"\n"

    def _message(self, data: dict[str, Any]) -> bytes:
        return self._line("message", {"details": None, **data})

    def _line(self, event: str, data: dict[str, Any]) -> bytes:
        return dumps({"event": event, "retry": 30000, "data": data if self._as_dict else [data]}) + b"\n"

    def _push(self, token: Token) -> tuple[str, dict[str, Any]]:
        """The token's piece of text, and what is said about the token."""
        piece = self._text.push(token)
        if self._drop_last_text and self._text.is_cut_by_length(token):
            piece = ""
        token_id = token.token_id
        # the protocol's "logprob" is the raw logit
        special = self._is_special(token_id)
        return piece, {"id": token_id, "logprob": token.logit, "special": special, "text": ascii_text(piece)}

    def _all(self, finished: Finished) -> dict[str, Any]:
        first = self._tokens[0]
        fields = {
            "generated_text": "".join(self._pieces),
            "finish_reason": self._reason(finished),
            "generated_tokens": self._text.num_tokens,
            "prefill": [first],
            "seed": 0,
            "tokens": self._tokens,
            "top_tokens": [[first]],
        }
        return fields | timings_field(finished.timings) if self._timings else fields

    def _reason(self, finished: Finished) -> str:
        return "stop" if self._text.stopped else finished.reason
