"""The contest protocol's requests: JSON in, validated request out. Defaults are the original server's."""

from __future__ import annotations

from dataclasses import dataclass

from serving.frontend.errors import invalid
from serving.frontend.fields import INT64_MIN, Fields, is_integers, parse_object
from serving.frontend.generation import Generation, read_extension, read_stop

DEFAULT_MAX_NEW_TOKENS = 300
DEFAULT_TOP_K = 3


@dataclass(slots=True)
class JudgeRequest:
    """A generation and how to answer it."""

    generation: Generation
    stream: bool
    full_text: bool  # a last line with the whole text


def parse(body: bytes, stream: bool | None) -> JudgeRequest:
    """`stream` None: the request's own field decides, false if absent. Raises RequestError 400.

    Booleans and numbers may come as strings. Parameters that the original took but never used are ignored.
    """
    content = Fields(parse_object(body), lenient=True)
    inputs = content.raw("inputs")
    if inputs is None:
        raise invalid("inputs", "missing")
    if not isinstance(inputs, str) and not is_integers(inputs):
        raise content.wrong("inputs", "a string or a list of token ids")
    parameters = content.sub("parameters") or Fields({}, "parameters.")
    protocol = parameters.text("return_protocol")
    if protocol not in (None, "sse"):
        raise parameters.wrong("return_protocol", '"sse"')
    do_sample = parameters.flag("do_sample", True)
    top_k = parameters.integer("top_k", 0)
    temperature = parameters.number("temperature", 1.0, 0.0, 100.0)
    generation = Generation(
        prompt=inputs,
        prompt_field="inputs",
        max_field=parameters.name("max_new_tokens"),
        field_prefix="parameters.",
        max_new_tokens=parameters.integer("max_new_tokens", 1),
        default_max_new_tokens=DEFAULT_MAX_NEW_TOKENS,
        temperature=temperature if do_sample else 0.0,
        top_k=DEFAULT_TOP_K if top_k is None else top_k,
        top_p=parameters.number("top_p", 1.0, 0.0, 1.0),
        repetition_penalty=parameters.number("repetition_penalty", 1.0, 0.01, 100.0),
        seed=parameters.integer("seed", INT64_MIN),
        ignore_eos=parameters.flag("ignore_eos", False),
        stop=read_stop(parameters),
        extension=read_extension(parameters),
    )
    full_text = parameters.flag("return_full_text", True)
    return JudgeRequest(generation, content.flag("stream", False) if stream is None else stream, full_text)
