"""Model folders in the cache: each made whole or not at all, under a name that says what is in it."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from serving.config import ModelShape
from serving.weights.errors import ModelError

MANIFEST = "manifest.json"
CONFIG = "config.json"


def make(folder: Path, fill: Callable[[Path], None]) -> Path:
    """`folder` as it is, or made by `fill` in a folder beside it and then renamed. Raises ModelError."""
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise ModelError(f"cannot write {folder}: {error.strerror}") from error
    try:
        fill(partial)
        partial.chmod(0o755)
        partial.rename(folder)
    except OSError as error:
        if not folder.is_dir():  # another process may have been first
            raise ModelError(f"cannot write {folder}: {error.strerror}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def write_json(path: Path, content: object) -> None:
    """Indented, so that people can read it."""
    path.write_text(json.dumps(content, indent=1) + "\n")


def config_json(shape: ModelShape, seq_length: int) -> dict[str, Any]:
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
