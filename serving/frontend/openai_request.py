"""OpenAI's completion and chat requests (platform.openai.com/docs/api-reference): JSON in, validated request out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, model_validator

from serving.frontend.errors import invalid, unknown_model
from serving.frontend.fields import (
    Allowed,
    Fields,
    Flag,
    Integer,
    Only,
    Prompt,
    Text,
    TokenIds,
    not_allowed,
    parse_fields,
    shown,
    wrong,
)
from serving.frontend.generation import Generation, Sampling
from serving.tokenizer.chat import ChatTemplate, ChatTemplateError

DEFAULT_MAX_TOKENS = 16  # of /v1/completions


class _StreamOptions(Fields):
    include_usage: Flag = False
    continuous_usage_stats: Flag = False


class _Body(Sampling):
    """What both kinds have. What we cannot do is refused unless it asks for nothing."""

    model: Text | None = None
    max_tokens: Integer | None = None
    min_tokens: Integer = 0
    stop_token_ids: TokenIds | None = None
    return_token_ids: Flag = False
    stream: Flag = False
    stream_options: _StreamOptions = _StreamOptions()
    n: Annotated[Any, Only(1)] = None
    best_of: Annotated[Any, Only(1)] = None
    echo: Annotated[Any, Only(False)] = None
    suffix: Annotated[Any, Only("")] = None
    presence_penalty: Annotated[Any, Only(0)] = None
    frequency_penalty: Annotated[Any, Only(0)] = None
    logit_bias: Annotated[Any, Only({})] = None
    min_p: Annotated[Any, Only(0)] = None
    use_beam_search: Annotated[Any, Only(False)] = None
    tools: Annotated[Any, Only([])] = None
    functions: Annotated[Any, Only([])] = None
    response_format: Annotated[Any, Only({"type": "text"})] = None

    @model_validator(mode="after")
    def _min_tokens_need_ignore_eos(self) -> _Body:
        if self.min_tokens and not self.ignore_eos:
            allowed = "0 or absent, unless ignore_eos is true"
            raise wrong("min_tokens", f"{self.min_tokens} is not allowed: must be {allowed}")
        return self


def _the_only_one(prompts: Any) -> Any:
    """A list of one prompt is that prompt."""
    alone = isinstance(prompts, list) and len(prompts) == 1 and isinstance(prompts[0], str | list)
    return prompts[0] if alone else prompts


class _CompletionBody(_Body):
    prompt: Annotated[Prompt, BeforeValidator(_the_only_one)]
    logprobs: Integer | None = None


class _Part(Fields):
    type: Literal["text"]
    text: str


def _parts(content: Any) -> Any:
    if not isinstance(content, str | list):
        raise not_allowed("a string or a list of text parts")
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


class _Message(Fields):
    model_config = ConfigDict(extra="allow")  # templates may use more fields

    role: Text
    content: Annotated[
        list[Annotated[_Part, Allowed('{"type": "text", "text": …}: this model reads text only')]],
        BeforeValidator(_parts),
    ]

    def rendered_from(self) -> dict[str, Any]:
        """As chat templates expect it."""
        text = "".join(part.text for part in self.content)
        return (self.model_extra or {}) | {"role": self.role, "content": text}


def _not_empty(messages: Any) -> Any:
    if not isinstance(messages, list) or not messages:
        raise not_allowed("a non-empty list of messages")
    return messages


class _ChatBody(_Body):
    messages: Annotated[list[_Message], BeforeValidator(_not_empty)]
    max_completion_tokens: Integer | None = None
    logprobs: Flag = False
    top_logprobs: Integer = 0

    @model_validator(mode="after")
    def _top_logprobs_need_logprobs(self) -> _ChatBody:
        if self.top_logprobs and not self.logprobs:
            raise wrong("top_logprobs", "needs logprobs: true")
        return self


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
    content = parse_fields(_CompletionBody, body)
    _check_model(content, model)
    generation = _generation(content, content.prompt, "prompt", "max_tokens", content.max_tokens)
    generation.default_max_new_tokens = DEFAULT_MAX_TOKENS
    generation.top_logprobs = content.logprobs
    return _request(content, generation)


def parse_chat(body: bytes, model: str, template: ChatTemplate | None) -> OpenAiRequest:
    """POST /v1/chat/completions. Raises RequestError 400, or 404 for a model that is not `model`."""
    content = parse_fields(_ChatBody, body)
    _check_model(content, model)
    if template is None:
        raise invalid("messages", f"model {shown(model)} has no chat template: use /v1/completions")
    try:
        prompt = template.render([message.rendered_from() for message in content.messages])
    except ChatTemplateError as error:
        raise invalid("messages", str(error)) from error
    max_field, max_tokens = "max_tokens", content.max_tokens
    if content.max_completion_tokens is not None:
        max_field, max_tokens = "max_completion_tokens", content.max_completion_tokens
    generation = _generation(content, prompt, "messages", max_field, max_tokens)
    generation.is_chat = True
    generation.logprobs_field = "top_logprobs"
    generation.top_logprobs = content.top_logprobs if content.logprobs else None
    return _request(content, generation)


def _check_model(content: _Body, model: str) -> None:
    if content.model is not None and content.model != model:
        raise unknown_model(content.model, model)


def _generation(
    content: _Body, prompt: str | list[int], prompt_field: str, max_field: str, max_tokens: int | None
) -> Generation:
    return Generation(
        prompt=prompt,
        prompt_field=prompt_field,
        max_field=max_field,
        max_new_tokens=max_tokens,
        temperature=content.temperature,
        top_k=0 if content.top_k == -1 else content.top_k,
        top_p=content.top_p,
        repetition_penalty=content.repetition_penalty,
        seed=content.seed,
        ignore_eos=content.ignore_eos,
        stop=content.stop or (),
        stop_token_ids=tuple(content.stop_token_ids or ()),
        extension=content.plumbline,
    )


def _request(content: _Body, generation: Generation) -> OpenAiRequest:
    return OpenAiRequest(
        generation,
        is_chat=generation.is_chat,
        stream=content.stream,
        include_usage=content.stream_options.include_usage,
        continuous_usage=content.stream_options.continuous_usage_stats,
        return_token_ids=content.return_token_ids,
    )
