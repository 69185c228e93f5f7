"""From a validated request to the engine's: tokenisation, default lengths, and the protocol's names for fields."""

from __future__ import annotations

import asyncio

from serving.engine.request import GenerationRequest, SamplingParams
from serving.frontend.generation import Generation
from serving.tokenizer.tokenizer import Tokenizer

# Tokenising runs at about 1 MB/s: longer texts go to a thread, so that no other stream waits for more than ~2 ms.
INLINE_CHARS = 2048


def encode(tokenizer: Tokenizer, generation: Generation) -> list[int]:
    """Token ids of the prompt; ids that came as such are taken as they are."""
    prompt = generation.prompt
    if isinstance(prompt, list):
        return prompt
    return tokenizer.encode_chat(prompt) if generation.is_chat else tokenizer.encode(prompt, tokenizer.adds_bos)


async def encode_aside(tokenizer: Tokenizer, generation: Generation) -> list[int]:
    """`encode`, in a thread if the text is long."""
    if isinstance(generation.prompt, str) and len(generation.prompt) > INLINE_CHARS:
        return await asyncio.get_running_loop().run_in_executor(None, encode, tokenizer, generation)
    return encode(tokenizer, generation)


def engine_request(
    generation: Generation, request_id: str, prompt_ids: list[int], tokenizer: Tokenizer, seq_length: int
) -> GenerationRequest:
    """The engine's request. Whether it can be served is for the engine to say."""
    extension = generation.extension
    max_new_tokens = generation.max_new_tokens
    if max_new_tokens is None:
        room = seq_length - len(prompt_ids)
        default = len(extension.forced_ids) if extension.forced_ids else generation.default_max_new_tokens
        max_new_tokens = room if default is None else min(default, room)
    sampling = SamplingParams(
        max_new_tokens=max_new_tokens,
        temperature=generation.temperature,
        top_k=generation.top_k,
        top_p=generation.top_p,
        repetition_penalty=generation.repetition_penalty,
        seed=generation.seed,
        ignore_eos=generation.ignore_eos,
        top_logprobs=generation.top_logprobs,
    )
    return GenerationRequest(
        request_id,
        prompt_ids,
        sampling,
        capture=extension.capture,
        forced_ids=extension.forced_ids,
        eos_token_ids=tokenizer.eos_ids,
        stop_token_ids=generation.stop_token_ids,
    )


def field_names(generation: Generation) -> dict[str, str]:
    """The engine's field names → the client's."""
    extension = generation.field_prefix + "plumbline"
    names = {
        "prompt_ids": generation.prompt_field,
        "max_new_tokens": generation.max_field,
        "top_logprobs": generation.logprobs_field,
        "forced_ids": f"{extension}.forced_ids",
        "capture": extension,
    }
    names |= {f"capture.{key}": f"{extension}.{key}" for key in ("prompt_id", "every", "positions")}
    sampling = ("temperature", "top_k", "top_p", "repetition_penalty", "seed")
    return names | {key: generation.field_prefix + key for key in sampling}
