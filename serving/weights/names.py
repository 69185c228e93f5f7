"""What each convention calls a Llama's tensors, and in which order it keeps the rows of Q and K.

Hugging Face: `model.layers.0.self_attn.q_proj.weight`, halves. MindFormers: `model.layers.0.attention.wq.weight`,
halves as well (its `convert_weight.py`; files made before that script's `convert_to_new_ckpt` are interleaved and do
not say so). Meta: `layers.0.attention.wq.weight` without a prefix, interleaved: a head's rows 2i and 2i + 1 are
rotated together.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from numpy.typing import NDArray

_LAYER = {
    "attention.wq": "self_attn.q_proj",
    "attention.wk": "self_attn.k_proj",
    "attention.wv": "self_attn.v_proj",
    "attention.wo": "self_attn.o_proj",
    "feed_forward.w1": "mlp.gate_proj",
    "feed_forward.w2": "mlp.down_proj",
    "feed_forward.w3": "mlp.up_proj",
    "attention_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
_LAYER |= {name: name for name in _LAYER.values()}
_TOP = {
    "tok_embeddings.embedding_weight": "model.embed_tokens.weight",
    "tok_embeddings.weight": "model.embed_tokens.weight",
    "embed_tokens.weight": "model.embed_tokens.weight",
    "norm_out.weight": "model.norm.weight",
    "norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
    "lm_head.weight": "lm_head.weight",
}
_DERIVED = ("rope.freqs", "rotary_emb.inv_freq")  # recomputed from the configuration


def hugging_face_name(name: str) -> str | None:
    """The name that Hugging Face has for a tensor of any convention; None if no Llama has such a tensor."""
    bare = name.removeprefix("model.")
    if bare in _TOP:
        return _TOP[bare]
    parts = bare.split(".")
    if len(parts) > 3 and parts[0] == "layers" and parts[1].isdecimal() and parts[-1] == "weight":
        kind = _LAYER.get(".".join(parts[2:-1]))
        return f"model.layers.{parts[1]}.{kind}.weight" if kind else None
    return None


def is_derived(name: str) -> bool:
    """Whether a file's tensor holds nothing but what the configuration says already."""
    return name.endswith(_DERIVED)


def is_interleaved(names: Iterable[str]) -> bool:
    """Whether the convention of a file's names keeps rows of Q and K interleaved: Meta's does."""
    return any(name.startswith(("layers.", "tok_embeddings.")) for name in names)


def is_rotated(name: str) -> bool:
    """Whether a Hugging Face name is that of Q or K."""
    return name.endswith(("q_proj.weight", "k_proj.weight"))


def to_halves(weight: NDArray[Any], num_heads: int) -> NDArray[Any]:
    """Interleaved rows of Q (`num_heads` = query heads) or K (KV heads) in halves, as a view.

    weight: [num_heads * head_dim, hidden]; row 2i of a head becomes its row i, row 2i + 1 its row i + head_dim / 2.
    """
    rows, hidden = weight.shape
    return weight.reshape(num_heads, rows // num_heads // 2, 2, hidden).swapaxes(1, 2)
