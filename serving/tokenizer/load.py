"""Finds the tokenizer that a model brings: by the files in its folder. Knows no configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from serving.tokenizer.chat import ChatTemplate, ChatTemplateError
from serving.tokenizer.json import JsonTokenizer
from serving.tokenizer.sentencepiece import SentencePieceTokenizer
from serving.tokenizer.tokenizer import Tokenizer, TokenizerError, tokenizer_file

_NAMED_TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token")


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer in a folder (tokenizer.json before tokenizer.model), or of one such file.

    Beside it, if there: tokenizer_config.json (names of special tokens, add_bos_token, chat template),
    chat_template.jinja, and generation_config.json or config.json (further ids that end a sequence).
    Raises TokenizerError, in one line, for anything missing or unreadable.
    """
    file = _find(path)
    folder = file.parent
    config = _read_object(folder / "tokenizer_config.json")
    names = {name: text for name in _NAMED_TOKENS if (text := _token_text(config.get(name))) is not None}
    template = _chat_template(folder, config, names)
    eos_ids = _ending_ids(folder)
    adds_bos = config.get("add_bos_token")
    if file.suffix == ".model":
        return SentencePieceTokenizer(file, template, adds_bos is not False, eos_ids)
    vocabulary = _vocabulary(file)
    own_eos = _id_of(file, names, "eos_token", vocabulary)
    return JsonTokenizer(
        file,
        template,
        bos_id=_id_of(file, names, "bos_token", vocabulary),
        eos_ids=tuple(dict.fromkeys([*([] if own_eos is None else [own_eos]), *eos_ids])),
        pad_id=_id_of(file, names, "pad_token", vocabulary),
        adds_bos=adds_bos if isinstance(adds_bos, bool) else None,
    )


def _find(path: Path) -> Path:
    file = tokenizer_file(path)
    if file is None:
        raise TokenizerError(f"{path}: no tokenizer.json or tokenizer.model there")
    if file.suffix not in (".json", ".model"):
        raise TokenizerError(f"{path}: a tokenizer is a .json or a .model file")
    return file


def _read_object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TokenizerError(f"{path}: {error}") from error
    if not isinstance(content, dict):
        raise TokenizerError(f"{path}: not a JSON object")
    return content


def _token_text(value: object) -> str | None:
    """A special token's text, from "<s>" or {"content": "<s>", ...}."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else None


def _vocabulary(file: Path) -> dict[str, int]:
    content = _read_object(file)
    model = content.get("model")
    vocabulary = dict(model["vocab"]) if isinstance(model, dict) and isinstance(model.get("vocab"), dict) else {}
    return vocabulary | {token["content"]: token["id"] for token in content.get("added_tokens") or []}


def _id_of(file: Path, names: dict[str, str], name: str, vocabulary: dict[str, int]) -> int | None:
    text = names.get(name)
    if text is None:
        return None
    if text not in vocabulary:
        raise TokenizerError(f"{file.parent / 'tokenizer_config.json'}: {name} {text!r} is not in {file.name}")
    return vocabulary[text]


def _ending_ids(folder: Path) -> tuple[int, ...]:
    for name in ("generation_config.json", "config.json"):
        value = _read_object(folder / name).get("eos_token_id")
        if isinstance(value, int):
            return (value,)
        if isinstance(value, list) and all(isinstance(item, int) for item in value):
            return tuple(value)
    return ()


def _chat_template(folder: Path, config: dict[str, Any], names: dict[str, str]) -> ChatTemplate | None:
    source: object = config.get("chat_template")
    if isinstance(source, list):  # several, by name
        source = next((item.get("template") for item in source if item.get("name") == "default"), None)
    file = folder / "chat_template.jinja"
    if file.is_file():
        source = file.read_text(encoding="utf-8")
    if not isinstance(source, str):
        return None
    try:
        return ChatTemplate(source, names)
    except ChatTemplateError as error:
        raise TokenizerError(f"{folder}: {error}") from error
