"""Prompts come as the files say; a bad record is named by file and line."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.config import DatasetConfig, DatasetFormat
from harness.load import prompts
from harness.load.prompt_files import DatasetError
from harness.load.prompts import PromptSource

SHIPPED = Path(__file__).parents[4] / "conf" / "data"


def write(tmp_path: Path, content: str | bytes) -> DatasetConfig:
    path = tmp_path / "p.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return DatasetConfig(path=str(path))


def test_shipped_prompts_are_many_and_differ() -> None:
    loaded = PromptSource(DatasetConfig(path=str(SHIPPED / "prompts.jsonl"))).take(200)
    assert len({prompt.text for prompt in loaded}) == 200
    words = [len((prompt.text or "").split()) for prompt in loaded]
    assert max(words) > 100
    assert np.median(words) < 20


def test_wraps_around_and_says_so_in_the_id(tmp_path: Path) -> None:
    config = write(tmp_path, '{"prompt": "a", "max_new_tokens": 3}\n\n{"prompt": "b"}\n')
    loaded = PromptSource(config).take(5)
    assert [(p.prompt_id, p.text, p.max_new_tokens) for p in loaded] == [
        ("0", "a", 3),
        ("1", "b", 64),
        ("0.1", "a", 3),
        ("1.1", "b", 64),
        ("0.2", "a", 3),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"prompt": "a"}\n{"prompt": "\xff"}\n', r"p\.jsonl:2: byte 0xff is not UTF-8"),
        ('{"prompt": "a"}\n{"prompt": \n', r"p\.jsonl:2: no JSON"),
        ('{"prompt": "a"}\n\n["b"]\n', r"p\.jsonl:3: must be a JSON object, is list"),
        ('{"text": "a"}\n', r"p\.jsonl:1: prompt=None must be text"),
        ('{"prompt": "  "}\n', r"p\.jsonl:1: prompt='  ' must be text that is not empty"),
        ('{"prompt": "a", "max_new_tokens": 0}\n', r"p\.jsonl:1: max_new_tokens=0"),
        ("", "no records"),
    ],
)
def test_bad_record_is_named(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(DatasetError, match=message) as caught:
        PromptSource(write(tmp_path, content)).take(1)
    assert "\n" not in str(caught.value)


def test_missing_file_is_named() -> None:
    with pytest.raises(DatasetError, match=r"nowhere\.jsonl: cannot be read"):
        PromptSource(DatasetConfig(path="nowhere.jsonl")).take(1)


def test_alpaca_joins_as_the_contest_does(tmp_path: Path) -> None:
    path = tmp_path / "alpaca.json"
    records = [
        {"instruction": "Add", "input": "1, 2", "output": "3"},
        {"instruction": "Hi", "input": "", "output": "x"},
    ]
    path.write_text(json.dumps(records))
    lengths = tmp_path / "lengths.csv"
    lengths.write_text("index,output_tokens\n0,7\n1,500\n")
    config = DatasetConfig(DatasetFormat.alpaca, str(path), str(lengths), lengths_by_index=True, max_new_tokens=100)
    assert [(p.text, p.max_new_tokens) for p in PromptSource(config).take(3)] == [
        ("Add:1, 2", 7),
        ("Hi", 100),
        ("Add:1, 2", 7),
    ]


def test_sharegpt_takes_the_first_turn(tmp_path: Path) -> None:
    path = tmp_path / "share.json"
    path.write_text(json.dumps([{"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]}]))
    assert PromptSource(DatasetConfig(DatasetFormat.sharegpt, str(path))).take(1)[0].text == "Q"
    path.write_text(json.dumps([{"conversations": []}]))
    with pytest.raises(DatasetError, match=r"share\.json: record 0: conversations=\[\]"):
        PromptSource(DatasetConfig(DatasetFormat.sharegpt, str(path))).take(1)


def test_lengths_are_drawn_from_the_distribution() -> None:
    path = str(SHIPPED / "prompts.jsonl")
    lengths_path = SHIPPED / "output_lengths.csv"
    config = DatasetConfig(path=path, lengths_path=str(lengths_path), max_new_tokens=1000, seed=1)
    drawn = [prompt.max_new_tokens for prompt in PromptSource(config).take(5000)]
    known = prompts.read_lengths(lengths_path, "output_tokens")
    assert (len(known), sum(known)) == (1500, 98_086)
    assert np.mean(drawn) == pytest.approx(np.mean(known), rel=0.05)
    assert set(drawn) <= set(known)
    assert [p.max_new_tokens for p in PromptSource(config).take(5000)] == drawn
    assert max(p.max_new_tokens for p in PromptSource(replace(config, max_new_tokens=16)).take(500)) == 16


def test_lengths_file_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    config = replace(write(tmp_path, '{"prompt": "a"}\n'), lengths_path=str(path))
    path.write_text("tokens\n1\n")
    with pytest.raises(DatasetError, match=r"l\.csv:1: no column output_tokens"):
        PromptSource(config).take(1)
    path.write_text("output_tokens\n1\n-2\n")
    with pytest.raises(DatasetError, match=r"l\.csv:3: output_tokens='-2'"):
        PromptSource(config).take(1)


def test_random_ids_have_the_exact_length_and_share_the_prefix() -> None:
    config = DatasetConfig(DatasetFormat.shared_prefix, prompt_tokens=20, prefix_tokens=15, seed=2)
    rows = np.asarray([prompt.token_ids for prompt in PromptSource(config).take(50, vocab_size=259)])
    assert rows.shape == (50, 20)
    assert rows.max() < 259
    assert np.all(rows[:, :15] == rows[0, :15])
    assert len(np.unique(rows[:, 15:], axis=0)) == 50
    unshared = PromptSource(replace(config, format=DatasetFormat.random_ids)).take(2, vocab_size=259)
    assert unshared[0].token_ids != unshared[1].token_ids
    with pytest.raises(DatasetError, match="vocab_size=None"):
        PromptSource(config).take(1)
    with pytest.raises(DatasetError, match=r"prefix_tokens=20: must be 0 … prompt_tokens - 1 = 19"):
        PromptSource(replace(config, prefix_tokens=20)).take(1, vocab_size=259)


def test_synthetic_draws_prompt_and_output_lengths_together(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    path.write_text("index,prompt_tokens,output_tokens\n" + "".join(f"{i},{i + 1},{100 + i}\n" for i in range(50)))
    config = DatasetConfig(DatasetFormat.synthetic, lengths_path=str(path), max_new_tokens=500, vocab_size=300, seed=4)
    some = PromptSource(config).take(400)
    assert all(len(p.token_ids or []) + 99 == p.max_new_tokens for p in some)
    assert len({p.max_new_tokens for p in some}) > 40
    ids = np.concatenate([np.asarray(p.token_ids) for p in some])
    assert 280 < ids.max() < 300
    in_order = PromptSource(replace(config, lengths_by_index=True)).take(52)
    assert [len(p.token_ids or []) for p in in_order] == [*range(1, 51), 1, 2]
    assert [p.max_new_tokens for p in in_order] == [*range(100, 150), 100, 101]
    with pytest.raises(DatasetError, match=r"workload\.dataset\.lengths_path='': must be a CSV file"):
        PromptSource(replace(config, lengths_path="")).take(1)
    path.write_text("output_tokens\n1\n")
    with pytest.raises(DatasetError, match=r"l\.csv:1: no column prompt_tokens"):
        PromptSource(config).take(1)


def test_digest_is_of_content_and_lengths() -> None:
    config = DatasetConfig(path=str(SHIPPED / "prompts.jsonl"))
    first = prompts.digest(PromptSource(config).take(10))
    assert prompts.digest(PromptSource(config).take(10)) == first
    assert prompts.digest(PromptSource(config).take(11)) != first
    assert prompts.digest(PromptSource(replace(config, max_new_tokens=5)).take(10)) != first
