"""A small byte-level BPE tokenizer as a Hugging Face folder: peers count and make prompts with it, offline."""

from __future__ import annotations

from pathlib import Path

import orjson
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

_PROMPTS = Path(__file__).parents[2] / "conf" / "data" / "prompts.jsonl"
_VOCAB_SIZE = 2000


def write(folder: Path) -> Path:
    """Train on the prompts that ship with the harness and save; returns `folder`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCAB_SIZE,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    lines = _PROMPTS.read_bytes().splitlines()
    tokenizer.train_from_iterator((orjson.loads(line)["prompt"] for line in lines), trainer)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"bos_token": "<s>", "eos_token": "</s>", "model_max_length": 4096}
    about = {"tokenizer_class": "PreTrainedTokenizerFast", **names}
    (folder / "tokenizer_config.json").write_bytes(orjson.dumps(about))
    return folder
