"""Which tensors a Llama of a given shape has, and what is wrong with a source that has others."""

from __future__ import annotations

from collections.abc import Mapping

from serving.config import ModelShape
from serving.weights.errors import ModelError
from serving.weights.tensor import Weights

_NUM_NAMED = 3  # tensors per kind of mistake; a wrong shape makes hundreds
HEAD = "lm_head.weight"


def tensor_shapes(shape: ModelShape) -> dict[str, tuple[int, ...]]:
    """Hugging Face name to shape, of every weight. Linear weights are [outputs, inputs]."""
    hidden, kv = shape.hidden_size, shape.hidden_size // shape.num_heads * shape.num_kv_heads
    layer: dict[str, tuple[int, ...]] = {
        "input_layernorm": (hidden,),
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (kv, hidden),
        "self_attn.v_proj": (kv, hidden),
        "self_attn.o_proj": (hidden, hidden),
        "post_attention_layernorm": (hidden,),
        "mlp.gate_proj": (shape.intermediate_size, hidden),
        "mlp.up_proj": (shape.intermediate_size, hidden),
        "mlp.down_proj": (hidden, shape.intermediate_size),
    }
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (shape.vocab_size, hidden)}
    for index in range(shape.num_layers):
        shapes |= {f"model.layers.{index}.{name}.weight": size for name, size in layer.items()}
    shapes["model.norm.weight"] = (hidden,)
    if not shape.tie_word_embeddings:
        shapes[HEAD] = (shape.vocab_size, hidden)
    return shapes


def check(weights: Weights, expected: Mapping[str, tuple[int, ...]]) -> None:
    """Raise ModelError in one line for tensors that are missing, unexpected or of another shape.

    A head is not unexpected where none is: some files repeat the embedding that it is tied to.
    """
    found = weights.tensors
    missing = [name for name in expected if name not in found]
    unexpected = [name for name in found if name not in expected and name != HEAD]
    misshapen = [
        f"{name} is {_size(found[name].shape)} instead of {_size(size)}"
        for name, size in expected.items()
        if name in found and found[name].shape != size
    ]
    parts = [
        f"{kind}: {_some(names)}"
        for kind, names in (("missing", missing), ("unexpected", unexpected), ("misshapen", misshapen))
        if names
    ]
    if parts:
        raise ModelError(f"{weights.label}: not the tensors of this model; {'; '.join(parts)}")


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a scalar"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NUM_NAMED} more" if len(names) > _NUM_NAMED else ""
    return ", ".join(names[:_NUM_NAMED]) + more
