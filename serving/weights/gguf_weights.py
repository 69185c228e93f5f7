"""Llama weights out of a GGUF file: names, shapes and row order as Hugging Face has them, quantised ones as float32.

GGUF facts used here: dimensions are stored innermost first; llama.cpp keeps the rows of Q and K permuted for its own
rotary embedding (pairs of neighbouring rows instead of halves); a model without `output.weight` ties its head to the
embedding. Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, ReaderTensor, dequantize

from serving.weights.errors import ModelError
from serving.weights.names import to_halves
from serving.weights.tensor import Array, TensorInfo

_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_TOP_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_DERIVED = {"rope_freqs.weight"}  # recomputed from the configuration


def unpermute(weight: Array, num_heads: int) -> Array:
    """Undo llama.cpp's row order of Q (`num_heads` = query heads) or K (KV heads): it is Meta's, interleaved.

    weight: [num_heads * head_dim, hidden].
    """
    return to_halves(weight, num_heads).reshape(weight.shape)


def open_gguf(path: Path) -> GGUFReader:
    """Read a GGUF file's header. Raises ModelError for a foreign file or another architecture."""
    try:
        reader = GGUFReader(path)
    except (ValueError, OSError, IndexError) as error:
        raise ModelError(f"model.path={path}: not a readable GGUF file ({error})") from error
    architecture = field(reader, "general.architecture", "")
    if architecture != "llama":
        raise ModelError(f"model.path={path}: architecture {architecture!r}; only llama is supported")
    return reader


def field(reader: GGUFReader, key: str, default: object = None) -> Any:
    """A metadata value, or the default if the file does not have it."""
    found = reader.fields.get(key)
    return default if found is None else found.contents()


def llama_config(reader: GGUFReader) -> dict[str, Any]:
    """The model's shape as a Hugging Face config.json says it."""
    num_heads = field(reader, "llama.attention.head_count")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": field(reader, "llama.embedding_length"),
        "intermediate_size": field(reader, "llama.feed_forward_length"),
        "num_hidden_layers": field(reader, "llama.block_count"),
        "num_attention_heads": num_heads,
        "num_key_value_heads": field(reader, "llama.attention.head_count_kv", num_heads),
        "vocab_size": len(reader.fields["tokenizer.ggml.tokens"].data),
        "max_position_embeddings": field(reader, "llama.context_length"),
        "rms_norm_eps": field(reader, "llama.attention.layer_norm_rms_epsilon"),
        "rope_theta": field(reader, "llama.rope.freq_base", 10000.0),
        "tie_word_embeddings": not any(tensor.name == "output.weight" for tensor in reader.tensors),
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": field(reader, "tokenizer.ggml.bos_token_id"),
        "eos_token_id": field(reader, "tokenizer.ggml.eos_token_id"),
        "pad_token_id": field(reader, "tokenizer.ggml.padding_token_id"),
        "torch_dtype": "float32",
    }


def infos(reader: GGUFReader) -> dict[str, TensorInfo]:
    """Every tensor by Hugging Face name, as `tensors` gives it. Raises ModelError for one that no Llama has."""
    return {
        hugging_face_name(tensor.name)[0]: TensorInfo(_shape(tensor), str(np.dtype(_dtype(tensor))))
        for tensor in reader.tensors
        if tensor.name not in _DERIVED
    }


def tensors(reader: GGUFReader) -> Iterator[tuple[str, Array]]:
    """(Hugging Face name, array) of every tensor: float16 as it is, everything else as float32. One at a time.

    Raises ModelError for a tensor that no Llama has.
    """
    num_heads = field(reader, "llama.attention.head_count")
    num_kv_heads = field(reader, "llama.attention.head_count_kv", num_heads)
    for tensor in reader.tensors:
        if tensor.name in _DERIVED:
            continue
        weight: Array
        if tensor.tensor_type is GGMLQuantizationType.F16:
            weight = tensor.data.reshape(_shape(tensor))
        else:
            weight = dequantize(tensor.data, tensor.tensor_type).astype(np.float32, copy=False).reshape(_shape(tensor))
        name, kind = hugging_face_name(tensor.name)
        if kind == "attn_q":
            weight = unpermute(weight, num_heads)
        elif kind == "attn_k":
            weight = unpermute(weight, num_kv_heads)
        yield name, np.ascontiguousarray(weight)
        _forget(reader)


def _shape(tensor: ReaderTensor) -> tuple[int, ...]:
    return tuple(int(size) for size in reversed(tensor.shape))


def _dtype(tensor: ReaderTensor) -> type[np.float16] | type[np.float32]:
    return np.float16 if tensor.tensor_type is GGMLQuantizationType.F16 else np.float32


def _forget(reader: GGUFReader) -> None:
    """The reader maps its whole file: let go of the pages read so far, or they add up to a second copy."""
    mapping = getattr(reader.data, "_mmap", None)
    if mapping is not None:
        mapping.madvise(mmap.MADV_DONTNEED)


def hugging_face_name(gguf_name: str) -> tuple[str, str]:
    """(Hugging Face name, kind) of a GGUF tensor; kind is the part of the layer, "" outside the layers."""
    if gguf_name in _TOP_NAMES:
        return _TOP_NAMES[gguf_name], ""
    parts = gguf_name.split(".")
    if len(parts) == 4 and parts[0] == "blk" and parts[2] in _LAYER_NAMES and parts[3] == "weight":
        return f"model.layers.{parts[1]}.{_LAYER_NAMES[parts[2]]}.weight", parts[2]
    raise ModelError(f"unexpected tensor {gguf_name!r} in the GGUF file: no part of a Llama")
