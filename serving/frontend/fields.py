"""Typed reading of a JSON object that a client sent, each complaint naming the field. Knows no protocol."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import orjson

from serving.frontend.errors import RequestError, invalid

_WORDS = {"true": True, "false": False}
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


def parse_object(body: bytes) -> dict[str, Any]:
    """The body as a JSON object. Raises RequestError 400."""
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise invalid("body", f"not JSON: {error}", "invalid_json") from error
    if not isinstance(content, dict):
        raise invalid("body", f"must be a JSON object, not {_shown(content)}", "invalid_json")
    return content


class Fields:
    """One JSON object; absent and null fields take the default.

    `lenient` accepts booleans and numbers written as strings ("True", "0.8"), as the contest's clients send them.
    """

    def __init__(self, content: Mapping[str, Any], prefix: str = "", *, lenient: bool = False) -> None:
        self._content = content
        self._prefix = prefix
        self._lenient = lenient

    def name(self, key: str) -> str:
        """The field's full name, for messages."""
        return self._prefix + key

    def raw(self, key: str) -> Any:
        """The value as sent, None if absent."""
        return self._content.get(key)

    def sub(self, key: str) -> Fields | None:
        """A nested object, None if absent."""
        value = self.raw(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.wrong(key, "an object")
        return Fields(value, f"{self.name(key)}.", lenient=self._lenient)

    def flag(self, key: str, default: bool) -> bool:
        value = self.raw(key)
        if value is None:
            return default
        if self._lenient and isinstance(value, str):
            value = _WORDS.get(value.strip().lower())
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def integer(self, key: str, low: int, high: int = INT64_MAX) -> int | None:
        value = self.raw(key)
        if value is None:
            return None
        if self._lenient and isinstance(value, str):
            try:
                value = int(value)
            except ValueError:
                raise self.wrong(key, "an integer") from None
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.wrong(key, "an integer")
        if not low <= value <= high:
            raise self.wrong(key, f"≥ {low}" if high == INT64_MAX else f"between {low} and {high}")
        return value

    def number(self, key: str, default: float, low: float, high: float = math.inf) -> float:
        value = self.raw(key)
        if value is None:
            return default
        if self._lenient and isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                raise self.wrong(key, "a number") from None
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self.wrong(key, "a number")
        if not low <= value <= high:
            raise self.wrong(key, f"≥ {low:g}" if high == math.inf else f"between {low:g} and {high:g}")
        return float(value)

    def text(self, key: str) -> str | None:
        value = self.raw(key)
        if value is not None and not isinstance(value, str):
            raise self.wrong(key, "a string")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """One string or a list of strings; empty ones are refused."""
        value = self.raw(key)
        if value is None:
            return ()
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, list) or not all(isinstance(item, str) and item for item in items):
            raise self.wrong(key, "a non-empty string or a list of such")
        return tuple(items)

    def integers(self, key: str) -> list[int] | None:
        value = self.raw(key)
        if value is not None and not is_integers(value):
            raise self.wrong(key, "a list of non-negative integers")
        return None if value is None else list(value)

    def wrong(self, key: str, allowed: str) -> RequestError:
        """What was sent and what is allowed."""
        return invalid(self.name(key), f"{_shown(self.raw(key))} is not allowed: must be {allowed}")


def is_integers(value: object) -> bool:
    """Whether it is a list of integers ≥ 0 (booleans are none)."""
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _shown(value: object) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= 40 else text[:40] + "…"
