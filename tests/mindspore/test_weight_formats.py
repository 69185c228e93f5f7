"""Every format gives the same model: a random Llama written as each has it, loaded, and its logits compared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.config import ModelShape, RopeRows
from serving.weights.errors import ModelError
from serving.weights.pointer import open_files, open_weights
from serving.weights.seeded import SeededWeights
from serving.weights.tensor import Weights
from tests.support.weight_files import (
    Arrays,
    interleaved,
    write_bfloat16,
    write_checkpoint,
    write_gguf,
    write_hugging_face,
    write_meta,
)

pytestmark = pytest.mark.mindspore
SHAPE = ModelShape(vocab_size=96, hidden_size=48, intermediate_size=80, num_layers=2, num_heads=4, num_kv_heads=2)


def read_all(weights: Weights) -> Arrays:
    return {name: weights.read(name) for name in weights.tensors}


@pytest.fixture(scope="module")
def exact() -> Arrays:
    """Values that float16 and bfloat16 hold exactly, so that every format must give the very same ones."""
    drawn = read_all(SeededWeights(SHAPE, 5))
    return {name: ((weight * 512).round().clip(-255, 255) / 512).astype(np.float32) for name, weight in drawn.items()}


@pytest.fixture(scope="module")
def logits(own_folder: None) -> Callable[[Weights], Any]:
    """The plain network's logits with given weights."""
    import mindspore as ms

    from serving.model.load_weights import load_weights
    from serving.model.network import plain_network
    from serving.weights.folder import config_json

    network = plain_network(config_json(SHAPE, 16), 16, "float32")

    def run(weights: Weights) -> Any:
        load_weights(network, weights)
        return network(ms.Tensor(np.arange(16, dtype=np.int32)[None])).asnumpy()

    return run


@pytest.fixture(scope="module")
def expected(exact: Arrays, logits: Callable[[Weights], Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = write_hugging_face(tmp_path_factory.mktemp("expected") / "hf", exact)
    return logits(open_files(folder, SHAPE))


def half(weights: Arrays) -> Arrays:
    return {name: weight.astype(np.float16) for name, weight in weights.items()}


def from_gguf(path: Path, tmp_path: Path) -> Weights:
    from serving.weights.gguf_folder import from_gguf

    folder = from_gguf(path, "small", tmp_path, lambda *_: None, path.name, "as in the file", with_tokenizer=False)
    return open_weights(folder, SHAPE)


WRITERS: dict[str, Callable[[Path, Arrays], Weights]] = {
    "safetensors": lambda tmp, w: open_files(write_hugging_face(tmp / "hf", w), SHAPE),
    "safetensors, float16, three shards": lambda tmp, w: open_files(write_hugging_face(tmp / "hf", half(w), 3), SHAPE),
    "safetensors, bfloat16": lambda tmp, w: open_files(write_bfloat16(tmp / "m.safetensors", w), SHAPE),
    "safetensors, interleaved": lambda tmp, w: open_files(
        write_hugging_face(tmp / "hf", interleaved(w, SHAPE)), SHAPE, RopeRows.interleaved
    ),
    "Meta": lambda tmp, w: open_files(write_meta(tmp / "m.safetensors", w, SHAPE), SHAPE),
    "Meta, float16": lambda tmp, w: open_files(write_meta(tmp / "m.safetensors", half(w), SHAPE), SHAPE),
    "ckpt": lambda tmp, w: open_files(write_checkpoint(tmp / "m.ckpt", w), SHAPE),
    "ckpt, float16, crc": lambda tmp, w: open_files(write_checkpoint(tmp / "m.ckpt", half(w), crc_check=True), SHAPE),
    "ckpt, interleaved": lambda tmp, w: open_files(
        write_checkpoint(tmp / "m.ckpt", interleaved(w, SHAPE)), SHAPE, RopeRows.interleaved
    ),
    "GGUF": lambda tmp, w: from_gguf(write_gguf(tmp / "m.gguf", w, SHAPE), tmp),
    "GGUF, float16": lambda tmp, w: from_gguf(write_gguf(tmp / "m.gguf", half(w), SHAPE), tmp),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_every_format_gives_the_same_tensors_and_logits(
    kind: str, tmp_path: Path, exact: Arrays, logits: Callable[[Weights], Any], expected: Any
) -> None:
    weights = WRITERS[kind](tmp_path, exact)
    found = read_all(weights)
    assert found.keys() == exact.keys()
    for name, weight in exact.items():
        np.testing.assert_array_equal(found[name].astype(np.float32), weight, err_msg=name)
    np.testing.assert_array_equal(logits(weights), expected)


def test_the_network_runs_with_what_was_loaded_last(logits: Callable[[Weights], Any], expected: Any) -> None:
    assert np.abs(logits(SeededWeights(SHAPE, 6)) - expected).max() > 0.1


def test_a_large_tensor_is_put_together_from_its_slices(
    tmp_path: Path, exact: Arrays, monkeypatch: pytest.MonkeyPatch, own_folder: None
) -> None:
    import mindspore as ms
    from mindspore.train import serialization

    monkeypatch.setattr(serialization, "SLICE_SIZE", 5)  # KiB instead of 512 MiB
    path = write_checkpoint(tmp_path / "m.ckpt", exact)
    from serving.weights.checkpoint_file import locate_tensors

    slices = {name: len(stored.pieces) for name, stored in locate_tensors(path).items()}
    assert slices["model.tok_embeddings.embedding_weight"] == 4 and slices["model.norm_out.weight"] == 1
    found = read_all(open_files(path, SHAPE))
    for name, weight in exact.items():
        np.testing.assert_array_equal(found[name], weight, err_msg=name)
    assert set(ms.load_checkpoint(str(path))) == set(slices)  # MindSpore reads the same


def test_a_trainers_counters_are_passed_over_and_its_other_tensors_are_named(
    tmp_path: Path, exact: Arrays, own_folder: None
) -> None:
    counters = {"epoch_num": 3, "step_num": 7, "loss_scale": 0.5, "note": "text"}
    path = write_checkpoint(tmp_path / "m.ckpt", exact, append_dict=counters)
    assert open_files(path, SHAPE).tensors.keys() == exact.keys()
    path = write_checkpoint(tmp_path / "n.ckpt", exact | {"adam_m.lm_head.weight": exact["lm_head.weight"]})
    with pytest.raises(ModelError, match=r"n\.ckpt: unexpected tensor adam_m\.lm_head\.weight: no part of a Llama"):
        open_files(path, SHAPE)


@pytest.mark.parametrize("damage", ["cut", "encrypted", "foreign", "int8"])
def test_an_unusable_checkpoint_is_one_line(damage: str, tmp_path: Path, exact: Arrays, own_folder: None) -> None:
    path = tmp_path / "m.ckpt"
    if damage == "encrypted":
        write_checkpoint(path, exact, enc_key=b"0123456789abcdef")
    elif damage == "int8":
        write_checkpoint(path, exact | {"lm_head.weight": np.zeros((96, 48), np.int8)})
    else:
        write_checkpoint(path, exact)
        path.chmod(0o600)
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) * 2 // 3] if damage == "cut" else b"PK\x03\x04" + whole)
    with pytest.raises(ModelError) as caught:
        open_files(path, SHAPE)
    line = str(caught.value)
    assert "\n" not in line and str(path) in line
    if damage == "int8":
        assert line.endswith("lm_head.weight has type Int8; allowed: Float32, Float16, BFloat16")
    else:
        assert "no MindSpore checkpoint, or one that is cut off or encrypted" in line


def test_what_does_not_fit_the_network_is_named_before_it_is_touched(
    tmp_path: Path, exact: Arrays, logits: Callable[[Weights], Any], expected: Any
) -> None:
    wrong = dict(exact)
    del wrong["model.norm.weight"]
    wrong["model.layers.2.mlp.up_proj.weight"] = wrong["model.layers.0.mlp.up_proj.weight"]
    wrong["lm_head.weight"] = np.zeros((96, 50), np.float32)
    with pytest.raises(ModelError) as caught:
        logits(open_files(write_hugging_face(tmp_path / "wrong", wrong), SHAPE))
    assert str(caught.value).endswith(
        "not the tensors of this model; missing: model.norm.weight; unexpected: model.layers.2.mlp.up_proj.weight; "
        "misshapen: lm_head.weight is 96x50 instead of 96x48"
    )
    right = open_files(write_hugging_face(tmp_path / "right", exact), SHAPE)
    np.testing.assert_array_equal(logits(right), expected)


def test_values_beyond_float16_are_refused_not_made_infinite(tmp_path: Path, exact: Arrays, own_folder: None) -> None:
    from serving.model.load_weights import load_weights
    from serving.model.network import plain_network
    from serving.weights.folder import config_json

    large = exact | {"lm_head.weight": np.full((96, 48), 1e5, np.float32)}
    network = plain_network(config_json(SHAPE, 16), 16, "float16")
    with pytest.raises(ModelError, match=r"lm_head\.weight: values up to 100000 do not fit into float16; use another"):
        load_weights(network, open_files(write_hugging_face(tmp_path / "hf", large), SHAPE))
