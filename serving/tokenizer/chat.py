"""Chat templates as models ship them: Jinja text over a list of messages. Knows no tokenizer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment


class ChatTemplateError(ValueError):
    """The template cannot be parsed, or refuses these messages."""


def _refuse(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _to_json(value: object, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _strftime_now(pattern: str) -> str:
    return datetime.now().strftime(pattern)


class ChatTemplate:
    """A compiled template, sandboxed: it comes from a model file and must not reach the process.

    The names it may use (raise_exception, strftime_now, tojson, bos_token, eos_token, add_generation_prompt) and the
    block trimming are the convention of Hugging Face's chat templating documentation.
    """

    def __init__(self, source: str, tokens: Mapping[str, str]) -> None:
        """`tokens`: special tokens by name, {"bos_token": "<s>"}. Raises ChatTemplateError if it does not parse."""
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = _strftime_now
        environment.filters["tojson"] = _to_json
        try:
            self._template = environment.from_string(source)
        except jinja2.TemplateError as error:
            raise ChatTemplateError(f"chat template does not parse: {error}") from error
        self._tokens = dict(tokens)

    def render(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """The prompt text up to where the assistant's answer begins. Raises ChatTemplateError if refused."""
        try:
            return self._template.render(messages=messages, add_generation_prompt=True, **self._tokens)
        except (jinja2.TemplateError, TypeError, ValueError) as error:
            raise ChatTemplateError(f"chat template refused the messages: {error}") from error
