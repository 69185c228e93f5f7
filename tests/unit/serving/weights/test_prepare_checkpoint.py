"""Sources checkpoint and huggingface: served from where the files lie, checked and hashed before anything starts."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from serving.config import ModelConfig, ModelShape, RopeRows, StackConfig, WeightSource
from serving.weights.errors import ModelError
from serving.weights.folder import config_json
from serving.weights.identity import identity
from serving.weights.llama import tensor_shapes
from serving.weights.pointer import open_weights
from serving.weights.prepare import prepare
from serving.weights.random_folder import byte_tokenizer
from serving.weights.seeded import SeededWeights
from serving.weights.served_folder import announce

SHAPE = ModelShape(vocab_size=20, hidden_size=8, intermediate_size=12, num_layers=1, num_heads=2, num_kv_heads=1)


class Heard:
    """Progress as a supervisor would hear it."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, int, int]] = []

    def __call__(self, message: str, done: int, total: int) -> None:
        self.lines.append((message, done, total))


def write_weights(path: Path, shape: ModelShape = SHAPE) -> None:
    drawn = SeededWeights(shape, 3)
    safetensors.numpy.save_file({name: drawn.read(name) for name in drawn.tensors}, path)


@pytest.fixture
def stack(tmp_path: Path) -> StackConfig:
    path, tokenizer = tmp_path / "weights.safetensors", tmp_path / "tokenizer.json"
    write_weights(path)
    byte_tokenizer().save(str(tokenizer))
    model = ModelConfig("small", source=WeightSource.checkpoint, path=str(path), tokenizer=str(tokenizer), shape=SHAPE)
    return StackConfig(model=model, run_dir=str(tmp_path), cache_dir=str(tmp_path / "cache"))


def test_nothing_is_copied_and_the_manifest_has_the_hash(stack: StackConfig, tmp_path: Path) -> None:
    heard = Heard()
    folder = prepare(stack, heard)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "manifest.json", "weights.json"]
    assert heard.lines[-1][1:] == (100, 100) and "hashing the weights" in heard.lines[-1][0]
    sha256 = hashlib.sha256((tmp_path / "weights.safetensors").read_bytes()).hexdigest()
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["weights_sha256"] == sha256 and manifest["files"] == {"weights.safetensors": sha256}
    announce(stack, folder)
    found = identity(stack)
    assert found["weights_sha256"] == sha256 and found["weights"] == "as in the file"
    weights = open_weights(folder, SHAPE)
    assert {name: info.shape for name, info in weights.tensors.items()} == tensor_shapes(SHAPE)


def test_an_unchanged_file_is_not_read_again_and_a_changed_one_is(stack: StackConfig) -> None:
    folder, heard = prepare(stack, Heard()), Heard()
    assert prepare(stack, heard) == folder and heard.lines == []
    write_weights(Path(stack.model.path))
    path = Path(stack.model.path)
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\0")
    assert prepare(stack, heard) != folder and heard.lines


def test_the_order_of_rows_is_part_of_what_is_served(stack: StackConfig) -> None:
    folder = prepare(stack, Heard())
    stack.model.rope_rows = RopeRows.interleaved
    other = prepare(stack, Heard())
    name = "model.layers.0.self_attn.q_proj.weight"
    halves, moved = (open_weights(made, SHAPE).read(name) for made in (folder, other))
    assert not np.array_equal(halves, moved)
    # Two heads of four rows: 0 2 1 3, 4 6 5 7.
    np.testing.assert_array_equal(moved, halves[[0, 2, 1, 3, 4, 6, 5, 7]])


def test_mistakes_are_found_before_the_file_is_hashed(stack: StackConfig, tmp_path: Path) -> None:
    def refused() -> str:
        heard = Heard()
        with pytest.raises(ModelError) as caught:
            prepare(stack, heard)
        assert heard.lines == [] and "\n" not in str(caught.value)
        return str(caught.value)

    stack.model.tokenizer = str(tmp_path / "absent.model")
    assert refused() == f"model.tokenizer={tmp_path}/absent.model: no such file"
    stack.model.shape = ModelShape(**{**vars(SHAPE), "num_layers": 2, "vocab_size": 30})
    line = refused()
    assert line.startswith(f"{tmp_path}/weights.safetensors: not the tensors of this model; missing: model.layers.1.")
    assert "and 6 more" in line and "misshapen: model.embed_tokens.weight is 20x8 instead of 30x8" in line
    stack.model.path = str(tmp_path / "absent.ckpt")
    assert refused() == f"model.path={tmp_path}/absent.ckpt: no such file or folder"
    stack.model.path = str(tmp_path / "tokenizer.json")
    assert refused().startswith(f"{tmp_path}/tokenizer.json: no readable safetensors file (")


def test_a_hugging_face_folder_is_checked_and_hashed_in_place(stack: StackConfig, tmp_path: Path) -> None:
    folder = tmp_path / "hf"
    folder.mkdir()
    write_weights(folder / "model.safetensors")
    byte_tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps(config_json(SHAPE, 16)))
    stack.model = ModelConfig("small", source=WeightSource.huggingface, path=str(folder))
    heard = Heard()
    assert prepare(stack, heard) == folder and heard.lines[-1][1] == 100
    announce(stack, folder)
    assert identity(stack)["weights_sha256"] == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    (folder / "config.json").write_text(json.dumps(config_json(ModelShape(**{**vars(SHAPE), "hidden_size": 16}), 16)))
    with pytest.raises(ModelError, match=r"misshapen: model\.embed_tokens\.weight is 20x8 instead of 20x16"):
        prepare(stack, heard)


def test_shards_must_all_be_there_and_agree_with_their_index(stack: StackConfig, tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    folder.mkdir()
    drawn = SeededWeights(SHAPE, 3)
    names = list(drawn.tensors)
    for shard, part in (("a", names[:5]), ("b", names[5:])):
        safetensors.numpy.save_file({name: drawn.read(name) for name in part}, folder / f"{shard}.safetensors")
    index = {name: f"{'a' if name in names[:5] else 'b'}.safetensors" for name in names}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    stack.model.path = str(folder)
    assert open_weights(prepare(stack, Heard()), SHAPE).tensors.keys() == set(names)
    (folder / "b.safetensors").rename(folder / "c.safetensors")
    with pytest.raises(ModelError, match=r"index\.json names b\.safetensors, which is not there"):
        prepare(stack, Heard())
    (folder / "model.safetensors.index.json").unlink()
    safetensors.numpy.save_file({names[0]: drawn.read(names[0])}, folder / "b.safetensors")
    with pytest.raises(ModelError, match=rf"tensor {names[0]} is both in a\.safetensors and b\.safetensors"):
        prepare(stack, Heard())


def test_seeded_weights_are_the_same_whatever_was_drawn_before() -> None:
    one, other = SeededWeights(SHAPE, 1), SeededWeights(SHAPE, 1)
    names = list(one.tensors)
    for name, again in zip(names, reversed(names), strict=True):
        one.read(again)
        np.testing.assert_array_equal(one.read(name), other.read(name))
    assert not np.array_equal(one.read(names[0]), SeededWeights(SHAPE, 2).read(names[0]))
