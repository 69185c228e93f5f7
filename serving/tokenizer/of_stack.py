"""Which tokenizer a configuration means."""

from __future__ import annotations

from pathlib import Path

from serving.config import ModelKind, StackConfig
from serving.tokenizer.bytes import ByteTokenizer
from serving.tokenizer.load import load_tokenizer
from serving.tokenizer.tokenizer import Tokenizer
from serving.weights.served_folder import locate


def open_tokenizer(stack: StackConfig) -> Tokenizer:
    """The configured tokenizer, else the one that came with the weights. Raises TokenizerError."""
    if stack.model.tokenizer:
        return load_tokenizer(Path(stack.model.tokenizer))
    if stack.model.kind is ModelKind.arithmetic:
        return ByteTokenizer()
    return load_tokenizer(locate(stack))
