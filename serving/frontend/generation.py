"""A validated request, whichever protocol it came by, before tokenisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from serving.engine.request import Capture
from serving.frontend.fields import Allowed, Fields, Flag, Integer, Number, Text, TokenIds, wrong

# Each stop string is searched for in every token's text, so they are bounded in number and length.
_MAX_STOPS = 16
_MAX_STOP_CHARS = 256
Stops = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=_MAX_STOP_CHARS)]],
    Field(max_length=_MAX_STOPS),
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
    Allowed(f"a non-empty string or a list of such, at most {_MAX_STOPS} of at most {_MAX_STOP_CHARS} characters"),
]


class Extension(Fields):
    """The "plumbline" object of a request: what our own harness may ask for in either protocol."""

    prompt_id: Text | None = None
    every: Integer | None = None
    positions: TokenIds | None = None
    forced_ids: TokenIds | None = None
    timings: Flag = False  # server timings in the last piece of the reply

    @model_validator(mode="before")
    @classmethod
    def _unknown_is_refused(cls, content: Any) -> Any:
        if isinstance(content, dict) and (unknown := content.keys() - cls.model_fields):
            raise wrong(min(unknown), f"unknown; known are {', '.join(cls.model_fields)}")
        return content

    @model_validator(mode="after")
    def _rows_have_a_name(self) -> Extension:
        if self.prompt_id is None and (self.every is not None or self.positions is not None):
            raise wrong("prompt_id", "needed to capture logits with every or positions")
        return self

    @property
    def capture(self) -> Capture | None:
        """Which logits rows to keep, None for none."""
        if self.prompt_id is None:
            return None
        return Capture(self.prompt_id, self.every or 0, tuple(self.positions or ()))


class Sampling(Fields):
    """The fields that both protocols have, under the same names. Ranges are the engine's to check."""

    temperature: Number = 1.0
    top_k: Integer = 0
    top_p: Number = 1.0
    repetition_penalty: Number = 1.0
    seed: Integer | None = None
    ignore_eos: Flag = False
    stop: Stops | None = None
    plumbline: Extension = Extension()


@dataclass(slots=True)
class Generation:
    """What to generate from. Field names are the protocol's own, so that errors can use the client's words."""

    prompt: str | list[int]  # text, or token ids taken as they are
    prompt_field: str
    max_field: str
    logprobs_field: str = "logprobs"
    field_prefix: str = ""  # of the sampling fields
    max_new_tokens: int | None = None  # None: `default_max_new_tokens`, or what the context leaves if that is less
    default_max_new_tokens: int | None = None  # None: all that the context leaves
    is_chat: bool = False  # prompt is a rendered chat: special tokens are written out in it
    temperature: float = 0.0  # 0 = greedy
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    ignore_eos: bool = False
    top_logprobs: int | None = None
    stop: Sequence[str] = ()
    stop_token_ids: tuple[int, ...] = ()
    extension: Extension = field(default_factory=Extension)
