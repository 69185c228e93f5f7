"""The contest protocol's requests: JSON in, validated request out. Defaults are the original server's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, model_validator

from serving.frontend.fields import Allowed, Fields, Flag, Integer, Prompt, parse_fields
from serving.frontend.generation import Generation, Sampling

DEFAULT_MAX_NEW_TOKENS = 300
_WORDS = {"true": True, "false": False}


def _unquoted(value: Any) -> Any:
    """The contest's clients write booleans and numbers as strings too: "True", "0.8"."""
    if not isinstance(value, str):
        return value
    if (word := value.strip().lower()) in _WORDS:
        return _WORDS[word]
    for number in (int, float):
        try:
            return number(value)
        except ValueError:
            continue
    return value


class _Parameters(Sampling):
    """Those that the original took but never used are ignored."""

    return_protocol: Annotated[Literal["sse"], Allowed('"sse"')] = "sse"
    do_sample: Flag = True
    max_new_tokens: Integer | None = None
    top_k: Integer = 3
    return_full_text: Flag = True

    @model_validator(mode="before")
    @classmethod
    def _unquote(cls, content: Any) -> Any:
        if not isinstance(content, dict):
            return content
        return {key: value if key == "stop" else _unquoted(value) for key, value in content.items()}


class _Body(Fields):
    inputs: Prompt
    parameters: _Parameters = _Parameters()
    stream: Annotated[Flag, BeforeValidator(_unquoted)] = False


@dataclass(slots=True)
class JudgeRequest:
    """A generation and how to answer it."""

    generation: Generation
    stream: bool
    full_text: bool  # a last line with the whole text


def parse(body: bytes, stream: bool | None) -> JudgeRequest:
    """`stream` None: the request's own field decides, false if absent. Raises RequestError 400."""
    content = parse_fields(_Body, body)
    parameters = content.parameters
    generation = Generation(
        prompt=content.inputs,
        prompt_field="inputs",
        max_field="parameters.max_new_tokens",
        field_prefix="parameters.",
        max_new_tokens=parameters.max_new_tokens,
        default_max_new_tokens=DEFAULT_MAX_NEW_TOKENS,
        temperature=parameters.temperature if parameters.do_sample else 0.0,
        top_k=parameters.top_k,
        top_p=parameters.top_p,
        repetition_penalty=parameters.repetition_penalty,
        seed=parameters.seed,
        ignore_eos=parameters.ignore_eos,
        stop=parameters.stop or (),
        extension=parameters.plumbline,
    )
    return JudgeRequest(generation, content.stream if stream is None else stream, parameters.return_full_text)
