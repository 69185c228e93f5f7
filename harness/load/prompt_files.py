"""Readers of prompt files: path in, records out; a bad record is named by file and line or record number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

TokenCounter = Callable[[str], int]


class DatasetError(ValueError):
    """A prompt file or its configuration cannot be used; one line that names the place."""


@dataclass(frozen=True, slots=True)
class Source:
    """One record: its prompt and the output tokens it asks for, where the file says so."""

    text: str | None
    max_new_tokens: int | None


def jsonl(path: Path, count_tokens: TokenCounter | None) -> list[Source]:
    """One {"prompt": str, optional "max_new_tokens": int} per line; blank lines are skipped."""
    sources: list[Source] = []
    for number, line in enumerate(_read_bytes(path).split(b"\n"), start=1):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        record = _record(_parse(line, place), place)
        length = record.get("max_new_tokens")
        if length is not None and (not isinstance(length, int) or isinstance(length, bool) or length < 1):
            raise DatasetError(f"{place}: max_new_tokens={length!r} must be a whole number of at least 1")
        sources.append(Source(_text(record, "prompt", place), length))
    return _not_empty(sources, path)


def alpaca(path: Path, count_tokens: TokenCounter | None) -> list[Source]:
    """A JSON list of {instruction, input, output}; prompt and output length as the contest client makes them.

    Prompt = instruction + ":" + input, or the instruction alone; output tokens = tokens of `output` without BOS.
    """
    sources: list[Source] = []
    for number, item in enumerate(_list(path)):
        place = f"{path}: record {number}"
        record = _record(item, place)
        instruction = _text(record, "instruction", place)
        extra = record.get("input", "")
        if not isinstance(extra, str):
            raise DatasetError(f"{place}: input={extra!r} must be text")
        length = max(1, count_tokens(_text(record, "output", place, empty=True))) if count_tokens else None
        sources.append(Source(f"{instruction}:{extra}" if extra else instruction, length))
    return _not_empty(sources, path)


def sharegpt(path: Path, count_tokens: TokenCounter | None) -> list[Source]:
    """A JSON list of {"conversations": [{"from", "value"}, …]}: the first turn is the prompt, the second the output."""
    sources: list[Source] = []
    for number, item in enumerate(_list(path)):
        place = f"{path}: record {number}"
        turns = _record(item, place).get("conversations")
        if not isinstance(turns, list) or not turns:
            raise DatasetError(f"{place}: conversations={turns!r:.60} must be a list of turns")
        text = _text(_record(turns[0], f"{place}, turn 0"), "value", f"{place}, turn 0")
        length = None
        if count_tokens and len(turns) > 1:
            place = f"{place}, turn 1"
            length = max(1, count_tokens(_text(_record(turns[1], place), "value", place, empty=True)))
        sources.append(Source(text, length))
    return _not_empty(sources, path)


def token_counter(tokenizer_path: str) -> TokenCounter | None:
    """Count tokens with a SentencePiece model, without BOS; None if no path is given."""
    if not tokenizer_path:
        return None
    import sentencepiece  # noqa: PLC0415 - only for the files that need it

    try:
        processor = sentencepiece.SentencePieceProcessor(model_file=tokenizer_path)
    except (OSError, RuntimeError) as error:
        raise DatasetError(
            f"workload.dataset.tokenizer_path={tokenizer_path}: no SentencePiece model ({error})"
        ) from None
    return lambda text: len(processor.encode(text))


def read_text(path: Path) -> str:
    """The file as text. Raises DatasetError naming the line that is not UTF-8."""
    data = _read_bytes(path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DatasetError(f"{path}:{line}: byte 0x{data[error.start]:02x} is not UTF-8") from None


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        given = str(path) if path != Path() else ""
        raise DatasetError(f"workload.dataset.path={given}: cannot be read ({error.strerror})") from None


def _list(path: Path) -> list[Any]:
    value = _parse(read_text(path).encode(), str(path))
    if not isinstance(value, list):
        raise DatasetError(f"{path}: must hold a JSON list, holds {type(value).__name__}")
    return value


def _parse(data: bytes, place: str) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        try:
            data.decode()
        except UnicodeDecodeError as not_utf8:
            raise DatasetError(f"{place}: byte 0x{data[not_utf8.start]:02x} is not UTF-8") from None
        raise DatasetError(f"{place}: no JSON ({error})") from None


def _record(item: Any, place: str) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise DatasetError(f"{place}: must be a JSON object, is {type(item).__name__}")
    return item


def _text(record: dict[str, Any], name: str, place: str, empty: bool = False) -> str:
    value = record.get(name)
    if not isinstance(value, str) or (not value.strip() and not empty):
        raise DatasetError(f"{place}: {name}={value!r:.60} must be text" + ("" if empty else " that is not empty"))
    return value


def _not_empty(sources: list[Source], path: Path) -> list[Source]:
    if not sources:
        raise DatasetError(f"{path}: no records")
    return sources
