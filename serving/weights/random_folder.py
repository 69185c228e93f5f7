"""A model folder for seeded random Llama weights of any shape: for tests, and for trials without a download."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from serving.config import ModelConfig
from serving.weights import folder as model_folder
from serving.weights.pointer import WeightsPointer
from serving.weights.seeded import recipe_sha256


def random_folder(model: ModelConfig, cache_dir: Path) -> Path:
    """Everything but the weights, which are drawn anew when they are loaded. Its tokenizer is one token per byte."""
    digest = recipe_sha256(model.shape, model.seed)

    def fill(partial: Path) -> None:
        byte_tokenizer().save(str(partial / "tokenizer.json"))
        WeightsPointer(seed=model.seed).save(partial)
        config = model_folder.config_json(model.shape, model.seq_length)
        model_folder.write_json(partial / model_folder.CONFIG, config)
        manifest = {
            "name": model.name,
            "source": "random",
            "seed": model.seed,
            "weights": "random",
            "weights_sha256": digest,
        }
        model_folder.write_json(partial / model_folder.MANIFEST, manifest)

    return model_folder.make(cache_dir / "models" / f"random-{digest[:12]}", fill)


def byte_tokenizer() -> Tokenizer:
    """A byte-level tokenizer without merges: ids 0…255 in the order of GPT-2's byte alphabet."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer
