"""GGUF to Hugging Face: a small random Llama written as llama.cpp would, read back exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFWriter
from numpy.typing import NDArray

from serving.weights import gguf_weights
from serving.weights.errors import ModelError

HEADS, KV_HEADS, HEAD_DIM, HIDDEN, VOCAB = 4, 2, 6, 24, 11


def permute(weight: NDArray[np.float32], num_heads: int) -> NDArray[np.float32]:
    """llama.cpp's row order, one row at a time: our row i of a head goes to 2i, our row i + d/2 to 2i + 1."""
    rows = weight.shape[0] // num_heads
    out = np.empty_like(weight)
    for head in range(num_heads):
        for row in range(rows):
            place = 2 * row if row < rows // 2 else 2 * (row - rows // 2) + 1
            out[head * rows + place] = weight[head * rows + row]
    return out


def write_gguf(path: Path, weights: dict[str, NDArray[np.float32]], architecture: str = "llama") -> None:
    writer = GGUFWriter(path, architecture)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(16)
    writer.add_block_count(1)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_context_length(64)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(5000.0)
    writer.add_token_list([f"t{i}" for i in range(VOCAB)])
    for name, weight in weights.items():
        writer.add_tensor(name, weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture
def weights() -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    shapes = {
        "model.embed_tokens.weight": (VOCAB, HIDDEN),
        "model.layers.0.self_attn.q_proj.weight": (HEADS * HEAD_DIM, HIDDEN),
        "model.layers.0.self_attn.k_proj.weight": (KV_HEADS * HEAD_DIM, HIDDEN),
        "model.layers.0.mlp.down_proj.weight": (HIDDEN, 16),
        "model.norm.weight": (HIDDEN,),
    }
    return {name: rng.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}


def gguf_of(weights: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    layer = "model.layers.0."
    return {
        "token_embd.weight": weights["model.embed_tokens.weight"],
        "blk.0.attn_q.weight": permute(weights[f"{layer}self_attn.q_proj.weight"], HEADS),
        "blk.0.attn_k.weight": permute(weights[f"{layer}self_attn.k_proj.weight"], KV_HEADS),
        "blk.0.ffn_down.weight": weights[f"{layer}mlp.down_proj.weight"],
        "output_norm.weight": weights["model.norm.weight"],
    }


def test_every_tensor_comes_back_exactly(tmp_path: Path, weights: dict[str, NDArray[np.float32]]) -> None:
    write_gguf(tmp_path / "m.gguf", gguf_of(weights))
    found = dict(gguf_weights.tensors(gguf_weights.open_gguf(tmp_path / "m.gguf")))
    assert found.keys() == weights.keys()
    for name, weight in weights.items():
        np.testing.assert_array_equal(found[name], weight, err_msg=name)


def test_the_head_is_tied_only_without_an_output_tensor(
    tmp_path: Path, weights: dict[str, NDArray[np.float32]]
) -> None:
    write_gguf(tmp_path / "tied.gguf", gguf_of(weights))
    write_gguf(tmp_path / "own.gguf", gguf_of(weights) | {"output.weight": weights["model.embed_tokens.weight"]})
    configs = [gguf_weights.llama_config(gguf_weights.open_gguf(tmp_path / f"{name}.gguf")) for name in ("tied", "own")]
    assert [config["tie_word_embeddings"] for config in configs] == [True, False]
    assert configs[0]["num_key_value_heads"] == KV_HEADS and configs[0]["rope_theta"] == 5000.0
    assert configs[0]["vocab_size"] == VOCAB


def test_an_unknown_tensor_is_named(tmp_path: Path, weights: dict[str, NDArray[np.float32]]) -> None:
    write_gguf(tmp_path / "m.gguf", gguf_of(weights) | {"blk.0.attn_q.bias": weights["model.norm.weight"]})
    with pytest.raises(ModelError, match=r"unexpected tensor 'blk\.0\.attn_q\.bias'"):
        dict(gguf_weights.tensors(gguf_weights.open_gguf(tmp_path / "m.gguf")))


def test_foreign_files_are_refused_in_a_line(tmp_path: Path, weights: dict[str, NDArray[np.float32]]) -> None:
    write_gguf(tmp_path / "m.gguf", gguf_of(weights), architecture="gemma")
    with pytest.raises(ModelError, match="architecture 'gemma'; only llama"):
        gguf_weights.open_gguf(tmp_path / "m.gguf")
    (tmp_path / "x.gguf").write_bytes(b"not a gguf file at all" * 10)
    with pytest.raises(ModelError, match="not a readable GGUF file"):
        gguf_weights.open_gguf(tmp_path / "x.gguf")
