"""Writes a small Llama's weights as each format has them, by means that share nothing with the code under test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from gguf import GGUFWriter
from numpy.typing import NDArray

from serving.config import ModelShape

Arrays = dict[str, NDArray[Any]]
META = {
    "model.embed_tokens": "tok_embeddings",
    "model.norm": "norm",
    "lm_head": "output",
    "self_attn.q_proj": "attention.wq",
    "self_attn.k_proj": "attention.wk",
    "self_attn.v_proj": "attention.wv",
    "self_attn.o_proj": "attention.wo",
    "mlp.gate_proj": "feed_forward.w1",
    "mlp.down_proj": "feed_forward.w2",
    "mlp.up_proj": "feed_forward.w3",
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "ffn_norm",
    "model.layers": "layers",
}
GGUF = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.down_proj": "ffn_down",
    "mlp.up_proj": "ffn_up",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "model.layers": "blk",
}


def renamed(weights: Arrays, names: dict[str, str]) -> Arrays:
    """Every part of a name that the table has, replaced."""
    result = {}
    for own_name, weight in weights.items():
        name = own_name
        for ours, theirs in names.items():
            name = name.replace(ours, theirs)
        result[name] = weight
    return result


def interleaved(weights: Arrays, shape: ModelShape) -> Arrays:
    """Q and K with row i of each head's first half moved to 2i and of its second half to 2i + 1, row by row."""
    result = dict(weights)
    for name, weight in weights.items():
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            size = shape.hidden_size // shape.num_heads
            moved = np.empty_like(weight)
            for row in range(weight.shape[0]):
                head, place = divmod(row, size)
                target = 2 * place if place < size // 2 else 2 * (place - size // 2) + 1
                moved[head * size + target] = weight[row]
            result[name] = moved
    return result


def write_hugging_face(folder: Path, weights: Arrays, num_shards: int = 1) -> Path:
    folder.mkdir()
    if num_shards == 1:
        safetensors.numpy.save_file(weights, folder / "model.safetensors")
        return folder
    index = {}
    for shard in range(num_shards):
        name = f"model-{shard + 1:05}-of-{num_shards:05}.safetensors"
        part = dict(list(weights.items())[shard::num_shards])
        safetensors.numpy.save_file(part, folder / name)
        index |= dict.fromkeys(part, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    return folder


def write_bfloat16(path: Path, weights: Arrays) -> Path:
    """float32 arrays whose lower 16 bits are zero, as bfloat16."""
    header, data, start = {}, [], 0
    for name, weight in weights.items():
        bits = (weight.view(np.uint32) >> 16).astype(np.uint16).tobytes()
        header[name] = {"dtype": "BF16", "shape": weight.shape, "data_offsets": [start, start + len(bits)]}
        data.append(bits)
        start += len(bits)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(data))
    return path


def write_meta(path: Path, weights: Arrays, shape: ModelShape) -> Path:
    named = renamed(interleaved(weights, shape), META) | {"rope.freqs": np.ones(8, np.float32)}
    safetensors.numpy.save_file(named, path)
    return path


def write_checkpoint(path: Path, weights: Arrays, **options: Any) -> Path:
    """By MindSpore itself, under the names that MindFormers gives."""
    import mindspore as ms
    from mindformers import LlamaForCausalLM

    named = [{"name": LlamaForCausalLM.convert_name(name), "data": ms.Tensor(data)} for name, data in weights.items()]
    ms.save_checkpoint(named, str(path), **options)
    return path


def write_gguf(path: Path, weights: Arrays, shape: ModelShape) -> Path:
    """As llama.cpp's converter would; norms are float32 there."""
    writer = GGUFWriter(path, "llama")
    writer.add_embedding_length(shape.hidden_size)
    writer.add_feed_forward_length(shape.intermediate_size)
    writer.add_block_count(shape.num_layers)
    writer.add_head_count(shape.num_heads)
    writer.add_head_count_kv(shape.num_kv_heads)
    writer.add_context_length(64)
    writer.add_layer_norm_rms_eps(shape.rms_norm_eps)
    writer.add_rope_freq_base(shape.rope_theta)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([f"t{index}" for index in range(shape.vocab_size)])
    for name, weight in renamed(interleaved(weights, shape), GGUF).items():
        writer.add_tensor(name, weight.astype(np.float32) if weight.ndim == 1 else weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
