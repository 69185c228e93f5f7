"""A validated request, whichever protocol it came by, before tokenisation."""

from __future__ import annotations

from dataclasses import dataclass, field

from serving.engine.request import Capture
from serving.frontend.errors import invalid
from serving.frontend.fields import Fields

MAX_STOP_STRINGS = 16
MAX_STOP_CHARS = 256


@dataclass(slots=True)
class Extension:
    """The "plumbline" object of a request: what our own harness may ask for in either protocol."""

    capture: Capture | None = None
    forced_ids: list[int] | None = None
    timings: bool = False  # server timings in the last piece of the reply


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
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    extension: Extension = field(default_factory=Extension)


def read_stop(fields: Fields) -> tuple[str, ...]:
    """Stop strings, bounded in number and length: each is searched for in every token's text."""
    stop = fields.texts("stop")
    if len(stop) > MAX_STOP_STRINGS or any(len(text) > MAX_STOP_CHARS for text in stop):
        allowed = f"at most {MAX_STOP_STRINGS} strings of at most {MAX_STOP_CHARS} characters"
        raise invalid(fields.name("stop"), f"must be {allowed}")
    return stop


_EXTENSION_KEYS = ("prompt_id", "every", "positions", "forced_ids", "timings")


def read_extension(fields: Fields) -> Extension:
    """{"plumbline": {"prompt_id", "every", "positions", "forced_ids", "timings"}}; a name we do not know is refused."""
    sub = fields.sub("plumbline")
    if sub is None:
        return Extension()
    for key in fields.raw("plumbline"):
        if key not in _EXTENSION_KEYS:
            raise invalid(sub.name(key), f"unknown; known are {', '.join(_EXTENSION_KEYS)}")
    prompt_id = sub.text("prompt_id")
    every = sub.integer("every", 0)
    positions = sub.integers("positions")
    if prompt_id is None and (every is not None or positions is not None):
        raise invalid(sub.name("prompt_id"), "needed to capture logits with every or positions")
    capture = None if prompt_id is None else Capture(prompt_id, every or 0, tuple(positions or ()))
    return Extension(capture, sub.integers("forced_ids"), sub.flag("timings", False))
