"""The contest protocol's replies: newline-terminated JSON and nothing else, as its official client expects."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from serving.engine.request import Event, Finished, Timings, Token
from serving.frontend.errors import RequestError, from_ending, judge_body
from serving.frontend.json_text import number, quote
from serving.frontend.output_text import OutputText
from serving.frontend.reply import timings_json


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
        self._drop_last_text = drop_last_text
        opening, self._close = ("{", "}") if as_dict else ("[{", "}]")
        self._line_head = f'{{"event":"message","retry":30000,"data":{opening}"details":null,"generated_text":'
        self._error_head = f'{{"event":"error","retry":30000,"data":{opening}"details":'
        self._tokens: list[str] = []  # JSON of each, for the last line
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
                    tail = f'"tokens":{token},"top_tokens":[{token}]{self._close}}}\n'
                    lines.append(f"{self._line_head}{quote(piece)},{tail}")
            elif isinstance(event, Finished):
                if self._keeps:
                    lines.append(f"{self._line_head}{self._whole_fields(event)}{self._close}}}\n")
                elif self._timings:
                    reason = self._reason(event)
                    tail = f'"finish_reason":"{reason}"{self._timings_field(event.timings)}{self._close}}}\n'
                    lines.append(f'{self._line_head}"",{tail}')
            else:
                message = from_ending(event).message
                tail = f'"generated_text":"","finish_reason":"predict_failed"{self._close}}}\n'
                lines.append(f"{self._error_head}{quote(message)},{tail}")
        return "".join(lines).encode("ascii")

    def collect(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, Token) and not self._text.stopped:
                piece, token = self._push(event)
                self._pieces.append(piece)
                self._tokens.append(token)

    def whole(self, finished: Finished) -> bytes:
        return f'{{"generated_text":{self._whole_fields(finished)},"details":null}}\n'.encode("ascii")

    def error(self, error: RequestError) -> bytes:
        return judge_body(error)

    def _push(self, token: Token) -> tuple[str, str]:
        """The token's piece of text, and its JSON."""
        piece = self._text.push(token)
        if self._drop_last_text and self._text.is_cut_by_length(token):
            piece = ""
        special = "true" if self._is_special(token.token_id) else "false"
        # the protocol's "logprob" is the raw logit
        logit = number(token.logit)
        return piece, f'{{"id":{token.token_id},"logprob":{logit},"special":{special},"text":{quote(piece)}}}'

    def _whole_fields(self, finished: Finished) -> str:
        first = self._tokens[0]
        return (
            f'{quote("".join(self._pieces))},"finish_reason":"{self._reason(finished)}",'
            f'"generated_tokens":{self._text.num_tokens},"prefill":[{first}],"seed":0,'
            f'"tokens":[{",".join(self._tokens)}],"top_tokens":[[{first}]]{self._timings_field(finished.timings)}'
        )

    def _reason(self, finished: Finished) -> str:
        return "stop" if self._text.stopped else finished.reason

    def _timings_field(self, timings: Timings) -> str:
        return f',"plumbline":{timings_json(timings)}' if self._timings else ""
