"""What is sent: prompts and output lengths, from files or drawn. It knows no protocols and no server's tokenizer."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from harness.config import DatasetConfig, DatasetFormat
from harness.load import prompt_files
from harness.load.prompt_files import DatasetError, Source

_KEY = "workload.dataset"
TOKEN_FORMATS = (DatasetFormat.random_ids, DatasetFormat.shared_prefix, DatasetFormat.synthetic)


@dataclass(slots=True)
class Prompt:
    """One request's content: either `text` or `token_ids`. `extra`: further request fields (see protocols.py)."""

    prompt_id: str
    max_new_tokens: int
    text: str | None = None
    token_ids: list[int] | None = None
    extra: dict[str, Any] = field(default_factory=dict)


_READERS: dict[DatasetFormat, Callable[[Path, prompt_files.TokenCounter | None], list[Source]]] = {
    DatasetFormat.alpaca: prompt_files.alpaca,
    DatasetFormat.sharegpt: prompt_files.sharegpt,
    DatasetFormat.jsonl: prompt_files.jsonl,
}


class PromptSource:
    """A data set whose files are read once, and from which the prompts of each window are taken."""

    def __init__(self, config: DatasetConfig) -> None:
        """Raises DatasetError: one line with the file and line (or the key), the value and what is allowed."""
        _require(config.max_new_tokens >= 1, "max_new_tokens", config.max_new_tokens, "at least 1")
        self._config = config
        self._records: list[Source] = []
        if config.format in _READERS:
            read = _READERS[config.format]
            self._records = read(Path(config.path), prompt_files.token_counter(config.tokenizer_path))
        self._lengths = read_lengths(Path(config.lengths_path), "output_tokens") if config.lengths_path else []

    def take(self, count: int, vocab_size: int | None = None) -> list[Prompt]:
        """The first `count` prompts in file order, wrapping around; the same ones at every call.

        prompt_id is "<record number>" plus ".<lap>" after a wrap. vocab_size: number of token ids of the served model,
        for TOKEN_FORMATS; the configuration's goes before it. Raises DatasetError as the constructor does.
        """
        _require(count >= 1, "count", count, "at least 1")
        config = self._config
        if config.format in TOKEN_FORMATS:
            ids = _random_ids(config, count, config.vocab_size or vocab_size)
            lengths = self._output_lengths(count, [Source(None, None)] * count)
            return [Prompt(f"{i}", lengths[i], token_ids=ids[i]) for i in range(count)]
        prompts = []
        for i, max_new_tokens in enumerate(self._output_lengths(count, self._records)):
            lap, record = divmod(i, len(self._records))
            prompt_id = f"{record}.{lap}" if lap else f"{record}"
            prompts.append(Prompt(prompt_id, max_new_tokens, text=self._records[record].text))
        return prompts

    def _output_lengths(self, count: int, records: list[Source]) -> list[int]:
        """Output tokens asked for, per request: from the lengths file, else the record's own, else the cap; capped."""
        config, lengths = self._config, self._lengths
        if not config.lengths_path:
            drawn = [records[i % len(records)].max_new_tokens or config.max_new_tokens for i in range(count)]
        elif not config.lengths_by_index:
            drawn = np.random.default_rng(config.seed).choice(np.asarray(lengths), count).tolist()
        elif config.format is DatasetFormat.synthetic:
            drawn = [lengths[i % len(lengths)] for i in range(count)]
        else:
            if len(lengths) < len(records) and count > len(lengths):
                needed = min(count, len(records))
                raise DatasetError(
                    f"{config.lengths_path}: {len(lengths)} lengths for {needed} records of {config.path}"
                )
            drawn = [lengths[i % len(records)] for i in range(count)]
        return [max(1, min(length, config.max_new_tokens)) for length in drawn]


def digest(prompts: list[Prompt]) -> str:
    """sha256 over content and output lengths, in order: equal digest = the same requests."""
    state = hashlib.sha256()
    for prompt in prompts:
        content = prompt.text if prompt.text is not None else prompt.token_ids
        state.update(orjson.dumps([content, prompt.max_new_tokens]) + b"\n")
    return state.hexdigest()


def read_lengths(path: Path, column: str) -> list[int]:
    """A column of a CSV file, such as output_tokens. Raises DatasetError naming file and line."""
    text = prompt_files.read_text(path)
    rows = csv.DictReader(text.splitlines())
    if column not in (rows.fieldnames or []):
        raise DatasetError(f"{path}:1: no column {column}; found {rows.fieldnames}")
    lengths: list[int] = []
    for row in rows:
        value = row[column] or ""
        if not value.isdigit():
            raise DatasetError(f"{path}:{rows.line_num}: {column}={value!r} is no whole number of tokens")
        lengths.append(int(value))
    if not lengths:
        raise DatasetError(f"{path}: no rows")
    return lengths


def _random_ids(config: DatasetConfig, count: int, vocab_size: int | None) -> list[list[int]]:
    """Uniform ids in [0, vocab_size); with shared_prefix the first prefix_tokens of every prompt are the same."""
    _require(
        vocab_size is not None and vocab_size >= 1, "vocab_size", vocab_size, "known for a format of random token ids"
    )
    if config.format is DatasetFormat.synthetic:
        return _synthetic_ids(config, count, vocab_size or 1)
    _require(config.prompt_tokens >= 1, "prompt_tokens", config.prompt_tokens, "at least 1")
    shared = config.prefix_tokens if config.format is DatasetFormat.shared_prefix else 0
    _require(
        0 <= shared < config.prompt_tokens,
        "prefix_tokens",
        shared,
        f"0 … prompt_tokens - 1 = {config.prompt_tokens - 1}",
    )
    rng = np.random.default_rng(config.seed)
    prefix = rng.integers(0, vocab_size, shared).tolist()
    rest = rng.integers(0, vocab_size, (count, config.prompt_tokens - shared)).tolist()
    return [prefix + row for row in rest]


def _synthetic_ids(config: DatasetConfig, count: int, vocab_size: int) -> list[list[int]]:
    """Uniform ids; lengths are the prompt_tokens of the rows whose output_tokens `_output_lengths` draws."""
    _require(bool(config.lengths_path), "lengths_path", repr(config.lengths_path), "a CSV file for format=synthetic")
    known = read_lengths(Path(config.lengths_path), "prompt_tokens")
    if config.lengths_by_index:
        lengths = [known[i % len(known)] for i in range(count)]
    else:
        # The same seed and number of rows draw the same rows as for the output lengths.
        lengths = np.random.default_rng(config.seed).choice(np.asarray(known), count).tolist()
    rng = np.random.default_rng([config.seed, 1])
    return [rng.integers(0, vocab_size, max(1, length)).tolist() for length in lengths]


def _require(condition: bool, name: str, value: object, allowed: str) -> None:
    if not condition:
        raise DatasetError(f"{_KEY}.{name}={value}: must be {allowed}")
