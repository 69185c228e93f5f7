"""Is a request one that the engine can serve? Pure checks; every refusal names the field and what is allowed."""

from __future__ import annotations

from collections.abc import Iterable

from serving.engine.captures import is_prompt_id
from serving.engine.request import GenerationRequest, InvalidRequest, SamplingParams
from serving.link.layout import MAX_TOP_LOGPROBS


def check_request(request: GenerationRequest, seq_length: int, vocab_size: int, has_logits: bool) -> None:
    """Raise InvalidRequest for the first field that is out of range.

    `seq_length`: most tokens of prompt and output together. `has_logits`: False behind a fake that computes none.
    """
    num_prompt, sampling = len(request.prompt_ids), request.sampling
    if num_prompt == 0:
        raise InvalidRequest("prompt_ids", "the prompt has no tokens")
    if num_prompt >= seq_length:
        raise InvalidRequest(
            "prompt_ids",
            f"the prompt has {num_prompt} tokens, at most {seq_length - 1} are allowed (model.seq_length - 1)",
        )
    _check_ids("prompt_ids", request.prompt_ids, vocab_size)
    if sampling.max_new_tokens < 1 or num_prompt + sampling.max_new_tokens > seq_length:
        raise InvalidRequest(
            "max_new_tokens",
            f"{sampling.max_new_tokens} new tokens were asked for, but after a prompt of {num_prompt} tokens "
            f"1 to {seq_length - num_prompt} are allowed (model.seq_length {seq_length})",
        )
    if request.forced_ids is not None:
        _check_ids("forced_ids", request.forced_ids, vocab_size)
    _check_sampling(sampling)
    capture = request.capture
    if capture is not None:
        if not has_logits:
            raise InvalidRequest("capture", "there are no logits to capture with serving.fake=worker or agent")
        if not is_prompt_id(capture.prompt_id):
            raise InvalidRequest(
                "capture.prompt_id",
                f"{capture.prompt_id!r} cannot name a file: 1 to 128 letters, digits, `.`, `_`, `-`, not `.` first",
            )
        if capture.every < 0:
            raise InvalidRequest("capture.every", f"{capture.every} is negative: 0 (none) or more is allowed")


def _check_ids(field: str, ids: Iterable[int], vocab_size: int) -> None:
    if min(ids, default=0) < 0 or max(ids, default=0) >= vocab_size:
        bad = next(token for token in ids if not 0 <= token < vocab_size)
        raise InvalidRequest(field, f"token id {bad} is not in the vocabulary: 0 to {vocab_size - 1} are allowed")


def _check_sampling(sampling: SamplingParams) -> None:
    if not 0 <= sampling.temperature < float("inf"):
        raise InvalidRequest("temperature", f"{sampling.temperature} is out of range: 0 (greedy) or more is allowed")
    if sampling.top_k < 0:
        raise InvalidRequest("top_k", f"{sampling.top_k} is negative: 0 (all) or more is allowed")
    if not 0 < sampling.top_p <= 1:
        raise InvalidRequest("top_p", f"{sampling.top_p} is out of range: more than 0, at most 1 is allowed")
    if not 0 < sampling.repetition_penalty < float("inf"):
        raise InvalidRequest(
            "repetition_penalty", f"{sampling.repetition_penalty} is out of range: more than 0 is allowed"
        )
    if sampling.top_logprobs is not None and not 0 <= sampling.top_logprobs <= MAX_TOP_LOGPROBS:
        raise InvalidRequest(
            "top_logprobs", f"{sampling.top_logprobs} is out of range: 0 to {MAX_TOP_LOGPROBS} are allowed"
        )
