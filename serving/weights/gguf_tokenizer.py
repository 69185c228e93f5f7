"""The tokenizer that a GGUF file carries, as tokenizer.json and tokenizer_config.json."""

from __future__ import annotations

from typing import Any

from gguf import GGUFReader
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from serving.weights.errors import ModelError
from serving.weights.gguf_weights import field

_CONTROL = 3  # token type in tokenizer.ggml.token_type, https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
# How text is cut before merging, by tokenizer.ggml.pre. SmolLM's: digits one by one, then GPT-2's expression.
_PRE_TOKENIZERS = {"smollm": [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]}


def build(reader: GGUFReader) -> Tokenizer:
    """A byte-level BPE tokenizer. Raises ModelError for another kind of tokenizer or an unknown pre-tokenizer."""
    kind, pre = field(reader, "tokenizer.ggml.model"), field(reader, "tokenizer.ggml.pre", "")
    if kind != "gpt2" or pre not in _PRE_TOKENIZERS:
        raise ModelError(
            f"the GGUF file's tokenizer {kind!r} with pre-tokenizer {pre!r} is not supported "
            f"(gpt2 with {', '.join(_PRE_TOKENIZERS)}); name another with model.tokenizer"
        )
    texts: list[str] = field(reader, "tokenizer.ggml.tokens")
    types: list[int] = field(reader, "tokenizer.ggml.token_type")
    merges = [tuple(merge.split(" ", 1)) for merge in field(reader, "tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE(vocab={text: i for i, text in enumerate(texts)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(_PRE_TOKENIZERS[pre])
    tokenizer.decoder = decoders.ByteLevel()
    control = [text for text, kind in zip(texts, types, strict=True) if kind == _CONTROL]
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in control])
    return tokenizer


def tokenizer_config(reader: GGUFReader) -> dict[str, Any]:
    """Special tokens by text, whether prompts begin with BOS, and the chat template."""
    texts: list[str] = field(reader, "tokenizer.ggml.tokens")
    config: dict[str, Any] = {"add_bos_token": bool(field(reader, "tokenizer.ggml.add_bos_token", False))}
    for name, key in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")):
        token_id = field(reader, f"tokenizer.ggml.{key}_token_id")
        if token_id is not None:
            config[f"{name}_token"] = texts[token_id]
    template = field(reader, "tokenizer.chat_template")
    return config | ({"chat_template": template} if template else {})
