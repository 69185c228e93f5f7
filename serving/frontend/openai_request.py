"""OpenAI's completion and chat requests (platform.openai.com/docs/api-reference): JSON in, validated request out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serving.frontend.errors import RequestError, invalid
from serving.frontend.fields import INT64_MIN, Fields, is_integers, parse_object
from serving.frontend.generation import Generation, read_extension, read_stop
from serving.tokenizer.chat import ChatTemplate, ChatTemplateError

DEFAULT_MAX_TOKENS = 16  # of /v1/completions
# What we cannot do is refused unless it asks for nothing; what we have never heard of is ignored, as servers do.
_NEUTRAL: dict[str, tuple[object, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "min_p": (0,),
    "use_beam_search": (False,),
    "tools": ([],),
    "functions": ([],),
    "response_format": ({"type": "text"},),
}


@dataclass(slots=True)
class OpenAiRequest:
    """A generation and how to answer it."""

    generation: Generation
    is_chat: bool
    stream: bool
    include_usage: bool  # a last chunk with the usage
    continuous_usage: bool  # usage in every chunk
    return_token_ids: bool


def parse_completion(body: bytes, model: str) -> OpenAiRequest:
    """POST /v1/completions. Raises RequestError 400, or 404 for a model that is not `model`."""
    fields = _open(body, model)
    max_tokens = fields.integer("max_tokens", 1)
    generation = _generation(fields, _prompt(fields), "prompt", "max_tokens", max_tokens)
    generation.default_max_new_tokens = DEFAULT_MAX_TOKENS
    generation.top_logprobs = fields.integer("logprobs", 0)
    return _request(fields, generation, is_chat=False)


def parse_chat(body: bytes, model: str, template: ChatTemplate | None) -> OpenAiRequest:
    """POST /v1/chat/completions. Raises RequestError 400, or 404 for a model that is not `model`."""
    fields = _open(body, model)
    if template is None:
        raise invalid("messages", f"model {model!r} has no chat template: use /v1/completions")
    try:
        prompt = template.render(_messages(fields))
    except ChatTemplateError as error:
        raise invalid("messages", str(error)) from error
    max_field = "max_tokens" if fields.raw("max_completion_tokens") is None else "max_completion_tokens"
    generation = _generation(fields, prompt, "messages", max_field, fields.integer(max_field, 1))
    generation.is_chat = True
    generation.logprobs_field = "top_logprobs"
    top_logprobs = fields.integer("top_logprobs", 0)
    if fields.flag("logprobs", False):
        generation.top_logprobs = top_logprobs or 0
    elif top_logprobs:
        raise invalid("top_logprobs", "needs logprobs: true")
    return _request(fields, generation, is_chat=True)


def _open(body: bytes, model: str) -> Fields:
    content = parse_object(body)
    fields = Fields(content)
    asked = fields.text("model")
    if asked is not None and asked != model:
        message = f"model: {asked!r} is not served here; {model!r} is"
        raise RequestError(404, "model_not_found", message, field="model")
    for key, neutral in _NEUTRAL.items():
        value = content.get(key)
        if value is not None and value not in neutral:
            raise fields.wrong(key, f"{neutral[0]!r} or absent: not supported")
    return fields


def _prompt(fields: Fields) -> str | list[int]:
    prompt = fields.raw("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and not is_integers(prompt):
        prompt = prompt[0]  # a list of one prompt
    if prompt is None:
        raise invalid("prompt", "missing")
    if not isinstance(prompt, str) and not is_integers(prompt):
        raise fields.wrong("prompt", "a string or a list of token ids (one prompt per request)")
    return prompt  # type: ignore[no-any-return]  # just checked


def _messages(fields: Fields) -> list[dict[str, Any]]:
    messages = fields.raw("messages")
    if not isinstance(messages, list) or not messages:
        raise fields.wrong("messages", "a non-empty list of messages")
    return [_message(f"messages[{i}]", message) for i, message in enumerate(messages)]


def _message(name: str, message: object) -> dict[str, Any]:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise invalid(name, "must be an object with a role")
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(_part(f"{name}.content[{i}]", part) for i, part in enumerate(content))
    if not isinstance(content, str):
        raise invalid(f"{name}.content", "must be a string or a list of text parts")
    return message | {"content": content}


def _part(name: str, part: object) -> str:
    if not isinstance(part, Mapping) or part.get("type") != "text" or not isinstance(part.get("text"), str):
        raise invalid(name, 'must be {"type": "text", "text": …}: this model reads text only')
    return str(part["text"])


def _generation(
    fields: Fields, prompt: str | list[int], prompt_field: str, max_field: str, max_tokens: int | None
) -> Generation:
    top_k = fields.integer("top_k", -1)
    ignore_eos = fields.flag("ignore_eos", False)
    if fields.integer("min_tokens", 0) and not ignore_eos:
        raise fields.wrong("min_tokens", "0 or absent, unless ignore_eos is true")
    return Generation(
        prompt=prompt,
        prompt_field=prompt_field,
        max_field=max_field,
        max_new_tokens=max_tokens,
        temperature=fields.number("temperature", 1.0, 0.0, 100.0),
        top_k=max(top_k or 0, 0),
        top_p=fields.number("top_p", 1.0, 0.0, 1.0),
        repetition_penalty=fields.number("repetition_penalty", 1.0, 0.01, 100.0),
        seed=fields.integer("seed", INT64_MIN),
        ignore_eos=ignore_eos,
        stop=read_stop(fields),
        stop_token_ids=tuple(fields.integers("stop_token_ids") or ()),
        extension=read_extension(fields),
    )


def _request(fields: Fields, generation: Generation, *, is_chat: bool) -> OpenAiRequest:
    options = fields.sub("stream_options") or Fields({})
    return OpenAiRequest(
        generation,
        is_chat,
        stream=fields.flag("stream", False),
        include_usage=options.flag("include_usage", False),
        continuous_usage=options.flag("continuous_usage_stats", False),
        return_token_ids=fields.flag("return_token_ids", False),
    )
