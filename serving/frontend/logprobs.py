"""Log-probabilities in the two shapes of OpenAI's API: parallel lists for completions, objects for chats."""

from __future__ import annotations

from typing import Any

from serving.engine.request import Token
from serving.tokenizer.tokenizer import Tokenizer


def _shown(tokenizer: Tokenizer, token_id: int) -> str:
    """A token as a name; one that is no whole characters is written out, so that two such names differ."""
    raw = tokenizer.token_bytes(token_id)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)


def for_completion(tokens: list[Token], offsets: list[int], tokenizer: Tokenizer) -> dict[str, Any]:
    """`offsets`: where each token's text begins in the output, in characters."""
    return {
        "tokens": [_shown(tokenizer, token.token_id) for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [
            {_shown(tokenizer, token_id): logprob for token_id, logprob in token.top_logprobs or []} for token in tokens
        ],
        "text_offset": offsets,
    }


def for_chat(tokens: list[Token], tokenizer: Tokenizer) -> dict[str, Any]:
    """{"content": [{"token", "logprob", "bytes", "top_logprobs"}]}."""

    def entry(token_id: int, logprob: float | None) -> dict[str, Any]:
        raw = tokenizer.token_bytes(token_id)
        return {"token": raw.decode(errors="replace"), "logprob": logprob, "bytes": list(raw)}

    content = [
        entry(token.token_id, token.logprob) | {"top_logprobs": [entry(*top) for top in token.top_logprobs or []]}
        for token in tokens
    ]
    return {"content": content, "refusal": None}
