"""Is a request one that the engine can serve? Pure checks; every refusal names the field and what is allowed."""

from __future__ import annotations

from collections.abc import Iterable

from serving.engine.captures import is_prompt_id
from serving.engine.request import (
    PROMPT_EMPTY,
    PROMPT_TOO_LONG,
    GenerationRequest,
    InvalidRequest,
    SamplingParams,
)
from serving.link.layout import MAX_TOP_LOGPROBS


def check_request(request: GenerationRequest, seq_length: int, vocab_size: int, has_logits: bool) -> None:
    """Raise InvalidRequest for the first field that is out of range.

    `seq_length`: most tokens of prompt and output together. `has_logits`: False behind a fake that computes none.
    """
    check_length(len(request.prompt_ids), request.sampling.max_new_tokens, seq_length)
    _check_ids("prompt_ids", request.prompt_ids, vocab_size)
    if request.forced_ids is not None:
        _check_ids("forced_ids", request.forced_ids, vocab_size)
    _check_sampling(request.sampling)
    capture = request.capture
    if capture is not None:
        if not has_logits:
            raise InvalidRequest("capture", "serving.fake=frontend, worker or agent computes no logits to capture")
        if not is_prompt_id(capture.prompt_id):
            raise InvalidRequest(
                "capture.prompt_id",
                f"{capture.prompt_id!r} cannot name a file: 1 to 128 letters, digits, `.`, `_`, `-`, not `.` first",
            )
        if capture.every < 0:
            raise InvalidRequest("capture.every", f"{capture.every} is negative: 0 (none) or more is allowed")


def check_length(num_prompt: int, max_new_tokens: int, seq_length: int) -> None:
    """Raise InvalidRequest unless prompt and output, in tokens, fit into the context together."""
    if num_prompt == 0:
        raise InvalidRequest("prompt_ids", "the prompt has no tokens", PROMPT_EMPTY)
    if num_prompt >= seq_length:
        raise InvalidRequest(
            "prompt_ids",
            f"the prompt has {num_prompt} tokens, at most {seq_length - 1} are allowed (model.seq_length - 1)",
            PROMPT_TOO_LONG,
        )
    if not 1 <= max_new_tokens <= seq_length - num_prompt:
        raise InvalidRequest(
            "max_new_tokens",
            f"{max_new_tokens} new tokens were asked for, but after a prompt of {num_prompt} tokens "
            f"1 to {seq_length - num_prompt} are allowed (model.seq_length {seq_length})",
        )


def _check_ids(field: str, ids: Iterable[int], vocab_size: int) -> None:
    if min(ids, default=0) < 0 or max(ids, default=0) >= vocab_size:
        bad = next(token for token in ids if not 0 <= token < vocab_size)
        raise InvalidRequest(field, f"token id {bad} is not in the vocabulary: 0 to {vocab_size - 1} are allowed")


def _check_sampling(sampling: SamplingParams) -> None:
    if not 0 <= sampling.temperature <= 100:
        raise InvalidRequest("temperature", f"{sampling.temperature} is out of range: 0 (greedy) to 100 is allowed")
    if sampling.top_k < 0:
        raise InvalidRequest("top_k", f"{sampling.top_k} is negative: 0 (all) or more is allowed")
    if not 0 < sampling.top_p <= 1:
        raise InvalidRequest("top_p", f"{sampling.top_p} is out of range: more than 0, at most 1 is allowed")
    if not 0.01 <= sampling.repetition_penalty <= 100:
        raise InvalidRequest(
            "repetition_penalty", f"{sampling.repetition_penalty} is out of range: 0.01 to 100 is allowed"
        )
    if sampling.top_logprobs is not None and not 0 <= sampling.top_logprobs <= MAX_TOP_LOGPROBS:
        raise InvalidRequest(
            "top_logprobs", f"{sampling.top_logprobs} is out of range: 0 to {MAX_TOP_LOGPROBS} are allowed"
        )
