"""Seeded random Llama weights of any shape, for tests and for memory-honest trials without a download."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from serving.config import ModelConfig, ModelShape

# Spread of each weight; large enough that logits differ clearly between tokens, small enough to stay finite.
_STANDARD_DEVIATION = 0.08


def random_folder(model: ModelConfig, cache_dir: Path, report: Callable[[str, int, int], None]) -> Path:
    """A model folder with weights drawn from (shape, seed); made once. Its tokenizer is one token per byte."""
    digest = hashlib.sha256(json.dumps([asdict(model.shape), model.seed], sort_keys=True).encode()).hexdigest()
    folder = cache_dir / "models" / f"random-{digest[:12]}"
    if folder.is_dir():
        return folder
    report("drawing random weights", 0, 0)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        safetensors.numpy.save_file(random_weights(model.shape, model.seed), partial / "model.safetensors")
        byte_tokenizer().save(str(partial / "tokenizer.json"))
        config = config_json(model.shape, model.seq_length)
        (partial / "config.json").write_text(json.dumps(config, indent=1) + "\n")
        manifest = {"name": model.name, "source": "random", "seed": model.seed, "weights": "random"}
        (partial / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
        partial.chmod(0o755)
        partial.rename(folder)
    except OSError:
        if not folder.is_dir():  # another process may have been first
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def config_json(shape: ModelShape, seq_length: int) -> dict[str, object]:
    """The shape as a Hugging Face config.json says it."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_hidden_layers": shape.num_layers,
        "num_attention_heads": shape.num_heads,
        "num_key_value_heads": shape.num_kv_heads,
        "vocab_size": shape.vocab_size,
        "max_position_embeddings": seq_length,
        "rms_norm_eps": shape.rms_norm_eps,
        "rope_theta": shape.rope_theta,
        "tie_word_embeddings": shape.tie_word_embeddings,
        "hidden_act": "silu",
    }


def random_weights(shape: ModelShape, seed: int) -> dict[str, NDArray[np.float32]]:
    """Hugging Face names to float32 arrays; norms are near 1."""
    rng = np.random.default_rng(seed)
    hidden, kv = shape.hidden_size, shape.hidden_size // shape.num_heads * shape.num_kv_heads
    matrices = {
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (kv, hidden),
        "self_attn.v_proj": (kv, hidden),
        "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (shape.intermediate_size, hidden),
        "mlp.up_proj": (shape.intermediate_size, hidden),
        "mlp.down_proj": (hidden, shape.intermediate_size),
    }

    def matrix(rows: int, columns: int) -> NDArray[np.float32]:
        return rng.standard_normal((rows, columns), dtype=np.float32) * np.float32(_STANDARD_DEVIATION)

    def norm() -> NDArray[np.float32]:
        return 1 + np.float32(0.1) * rng.standard_normal(hidden, dtype=np.float32)

    weights = {"model.embed_tokens.weight": matrix(shape.vocab_size, hidden), "model.norm.weight": norm()}
    for layer in range(shape.num_layers):
        prefix = f"model.layers.{layer}"
        weights |= {f"{prefix}.{name}.weight": matrix(*size) for name, size in matrices.items()}
        weights |= {f"{prefix}.{name}.weight": norm() for name in ("input_layernorm", "post_attention_layernorm")}
    if not shape.tie_word_embeddings:
        weights["lm_head.weight"] = matrix(shape.vocab_size, hidden)
    return weights


def byte_tokenizer() -> Tokenizer:
    """A byte-level tokenizer without merges: ids 0…255 in the order of GPT-2's byte alphabet."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer
