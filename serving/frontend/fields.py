"""What request fields may hold, as pydantic types, and its complaints in our words: field, value, what is allowed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, ValidationError, model_validator
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError, core_schema

from serving.frontend.errors import RequestError, invalid

_NOT_ALLOWED = "not_allowed"
_SHOWN_CHARS = 40


@dataclass(frozen=True)
class Allowed:
    """In Annotated: says what is allowed, whatever is wrong and however deep inside the value."""

    text: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.custom_error_schema(handler(source), _NOT_ALLOWED, custom_error_message=self.text)


@dataclass(frozen=True)
class Only:
    """In Annotated: a field that we do not support, so its one value is the one that asks for nothing."""

    neutral: Any

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._check)

    def _check(self, value: Any) -> Any:
        if value != self.neutral:
            raise not_allowed(f"{shown(self.neutral)} or absent: not supported")
        return value


Flag = Annotated[bool, Allowed("true or false")]
Number = Annotated[float, Allowed("a number")]
Integer = Annotated[int, Field(ge=-(2**63), lt=2**63), Allowed("an integer of at most 64 bits")]
Text = Annotated[str, Allowed("a string")]
_TokenIds = list[Annotated[int, Field(ge=0)]]
TokenIds = Annotated[_TokenIds, Allowed("a list of non-negative integers")]
Prompt = Annotated[str | _TokenIds, Allowed("a string or a list of token ids")]


class Fields(BaseModel):
    """A JSON object. Null is as if the field were absent; a field that we do not know is ignored."""

    model_config = ConfigDict(strict=True, frozen=True)  # frozen: a default needs no copy

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, content: Any) -> Any:
        if not isinstance(content, dict):
            return content
        return {key: value for key, value in content.items() if value is not None}


FieldsT = TypeVar("FieldsT", bound=Fields)


def not_allowed(allowed: str) -> PydanticCustomError:
    """For a validator of one field: says what is allowed instead."""
    return PydanticCustomError(_NOT_ALLOWED, "{allowed}", {"allowed": allowed})


def wrong(field: str, message: str) -> PydanticCustomError:
    """For a validator of a whole object: `field` of it is wrong."""
    return PydanticCustomError("wrong", "{message}", {"field": field, "message": message})


def parse_fields(kind: type[FieldsT], body: bytes) -> FieldsT:
    """The body as such an object. Raises RequestError 400 for the first field that is wrong."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise _refusal(error.errors(include_url=False)[0]) from None


def shown(value: object) -> str:
    """In JSON's spelling, cut short."""
    text = orjson.dumps(value).decode()
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "…"


def _refusal(problem: ErrorDetails) -> RequestError:
    kind, value, context = problem["type"], problem["input"], problem.get("ctx", {})
    if kind == "json_invalid":
        return invalid("body", f"not JSON: {context['error']}", "invalid_json")
    path = [*problem["loc"], context["field"]] if kind == "wrong" else problem["loc"]
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)[1:]
    if not field:
        return invalid("body", f"must be a JSON object, not {shown(value)}", "invalid_json")
    if kind == "missing":
        return invalid(field, "missing")
    if kind in ("model_type", _NOT_ALLOWED):
        allowed = "an object" if kind == "model_type" else problem["msg"]
        return invalid(field, f"{shown(value)} is not allowed: must be {allowed}")
    return invalid(field, problem["msg"])
