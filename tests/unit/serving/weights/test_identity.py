"""What a manifest says of a stack: the same for the same weights, tokenizer and settings, another for others."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.config import ModelKind, StackConfig, WeightSource
from serving.weights.identity import identity
from serving.weights.served_folder import announce


def hugging_face_stack(tmp_path: Path, weights: bytes = b"weights") -> StackConfig:
    folder = tmp_path / "model"
    folder.mkdir(exist_ok=True)
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "tokenizer.json").write_text("{}")
    stack = StackConfig(run_dir=str(tmp_path), cache_dir=str(tmp_path / "cache"))
    stack.model.source, stack.model.path = WeightSource.huggingface, str(folder)
    announce(stack, folder)
    return stack


def test_hashes_are_those_of_the_files_and_follow_them(tmp_path):
    first = identity(hugging_face_stack(tmp_path))
    assert identity(hugging_face_stack(tmp_path)) == first
    assert first["tokenizer_sha256"] == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"  # of {}
    other = identity(hugging_face_stack(tmp_path, b"other weights"))
    assert other["weights_sha256"] != first["weights_sha256"]
    assert other["tokenizer_sha256"] == first["tokenizer_sha256"]


def test_the_tokenizer_that_is_loaded_is_the_one_that_is_hashed(tmp_path):
    stack = hugging_face_stack(tmp_path)
    first = identity(stack)["tokenizer_sha256"]
    (tmp_path / "model" / "tokenizer.model").write_text("of another loader")
    assert identity(stack)["tokenizer_sha256"] == first
    stack.model.tokenizer = str(tmp_path / "model")  # a folder may be named too
    assert identity(stack)["tokenizer_sha256"] == first


def test_several_weight_files_have_one_hash(tmp_path):
    stack = hugging_face_stack(tmp_path)
    one = identity(stack)["weights_sha256"]
    (tmp_path / "model" / "second.safetensors").write_bytes(b"more")
    assert identity(stack)["weights_sha256"] not in (one, "")


def test_the_digest_knows_settings_and_not_folders(tmp_path):
    def digest(**fields: str) -> str:
        stack = StackConfig(**fields)
        stack.model.kind, stack.model.source = ModelKind.arithmetic, WeightSource.none
        stack.serving.batch.decode = 4
        return str(identity(stack)["stack_digest"])

    assert digest(run_dir="a", cache_dir="b") == digest(run_dir="c", cache_dir="d")
    stack = StackConfig()
    stack.model.kind, stack.model.source = ModelKind.arithmetic, WeightSource.none
    stack.serving.batch.decode = 8
    assert identity(stack)["stack_digest"] != digest()
    assert identity(stack)["weights_sha256"] == "none"


def test_a_model_that_was_not_prepared_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="was not prepared"):
        identity(StackConfig(run_dir=str(tmp_path), cache_dir=str(tmp_path)))
