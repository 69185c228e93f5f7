"""Where the model that a run serves lies, told by `serving.weights.prepare` to the processes that start after it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from serving import whole_file
from serving.config import ModelShape, StackConfig

FILE_NAME = "model.json"


def announce(stack: StackConfig, folder: Path) -> None:
    """Tell the run's other processes which folder to load, whole or not at all."""
    whole_file.write_json(Path(stack.run_dir) / FILE_NAME, {"folder": str(folder)})


def locate(stack: StackConfig) -> Path:
    """The model folder of this run. Raises FileNotFoundError if the model was not prepared."""
    path = Path(stack.run_dir) / FILE_NAME
    if not path.exists():
        raise FileNotFoundError(f"{path}: the model was not prepared (python -m serving.weights.prepare --config …)")
    return Path(json.loads(path.read_text())["folder"])


def shape_of(config: dict[str, Any]) -> ModelShape:
    """The shape that a Hugging Face config.json of a Llama says. Raises KeyError."""
    return ModelShape(
        vocab_size=config["vocab_size"],
        hidden_size=config["hidden_size"],
        intermediate_size=config["intermediate_size"],
        num_layers=config["num_hidden_layers"],
        num_heads=config["num_attention_heads"],
        num_kv_heads=config.get("num_key_value_heads") or config["num_attention_heads"],
        rope_theta=config.get("rope_theta", 10000.0),
        rms_norm_eps=config["rms_norm_eps"],
        tie_word_embeddings=config.get("tie_word_embeddings", False),
    )
