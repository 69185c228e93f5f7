"""The token that a fake answers with: printable ASCII in the byte tokenizer, never EOS, computed by hand."""

from __future__ import annotations


def fake_token(num_context_tokens: int) -> int:
    """Token that follows a context of so many tokens (prompt and output together)."""
    return 32 + num_context_tokens % 95
