"""Finds what no stack can run with, before anything starts. Pure: configuration in, one line per problem out."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import asdict

from serving.config import HttpConfig, ModelKind, ModelShape, RopeRows, StackConfig, WeightSource

_NEEDS_PATH = (WeightSource.gguf, WeightSource.huggingface, WeightSource.checkpoint)
_MAX_CACHE_TOKENS = 2**26  # the engine keeps an entry per block, the arithmetic model 8 bytes per token
_DTYPES = ("float32", "float16", "bfloat16")


def problems(stack: StackConfig) -> list[str]:
    """One line per problem: full key, value, what is allowed. Empty if the stack can run."""
    return [*_at_least(stack), *_lists(stack), *_http(stack), *_model(stack), *_combinations(stack)]


def _at_least(stack: StackConfig) -> Iterator[str]:
    serving, device = stack.serving, stack.device
    lower_bounds: list[tuple[str, float, float]] = [
        ("serving.num_steps_kept", serving.num_steps_kept, 1),
        ("serving.batch.decode", serving.batch.decode, 1),
        ("serving.cache.block_size", serving.cache.block_size, 1),
        ("serving.cache.num_blocks", serving.cache.num_blocks, 2),
        ("serving.prefill.max_prompts", serving.prefill.max_prompts, 1),
        ("serving.prefill.max_tokens", serving.prefill.max_tokens, 1),
        ("serving.queue.max_requests", serving.queue.max_requests, 1),
        ("serving.http.max_body_bytes", serving.http.max_body_bytes, 1),
        ("serving.http.max_buffered_events", serving.http.max_buffered_events, 1),
        ("serving.agent.tensor_parallel", serving.agent.tensor_parallel, 1),
        ("serving.agent.max_restarts", serving.agent.max_restarts, 0),
        ("model.seq_length", stack.model.seq_length, 2),
        ("device.num_threads", device.num_threads, 0),
        ("device.arithmetic_step_ms", device.arithmetic_step_ms, 0),
    ]
    for key, value, bound in lower_bounds:
        if not value >= bound:
            yield f"{key}={value}: must be at least {bound}"
    for key, value in (
        ("serving.agent.start_timeout_s", serving.agent.start_timeout_s),
        ("serving.agent.step_timeout_s", serving.agent.step_timeout_s),
    ):
        if not value > 0:
            yield f"{key}={value}: must be more than 0"


def _lists(stack: StackConfig) -> Iterator[str]:
    device_ids = stack.serving.agent.device_ids
    if not device_ids or len(set(device_ids)) < len(device_ids) or min(device_ids) < 0:
        yield f"serving.agent.device_ids={device_ids}: must be one or more different numbers from 0"
    size = stack.serving.agent.tensor_parallel
    if size > 1 and len(device_ids) % size:
        yield f"serving.agent.tensor_parallel={size}: must divide the {len(device_ids)} serving.agent.device_ids"


def _http(stack: StackConfig) -> Iterator[str]:
    http = stack.serving.http
    if not 0 <= http.port <= 65535:
        yield f"serving.http.port={http.port}: must be 0 (any free port) to 65535"
    if problem := host_problem(http):
        yield problem


def host_problem(http: HttpConfig) -> str:
    """Why the server may not listen there, "" if it may: others could use it without a key."""
    try:
        loopback = ipaddress.ip_address(http.host).is_loopback
    except ValueError:
        loopback = http.host == "localhost"
    if http.api_key or loopback:
        return ""
    return f"serving.http.host={http.host}: without serving.http.api_key only a loopback address is allowed"


def _model(stack: StackConfig) -> Iterator[str]:
    model, dtype = stack.model, stack.device.dtype
    if not model.name:
        yield "model.name=: must not be empty"
    if model.source in _NEEDS_PATH and not model.path:
        yield f"model.path=: model.source={model.source} needs the path of a file or folder"
    if model.source is WeightSource.checkpoint and not model.tokenizer:
        yield "model.tokenizer=: a checkpoint carries none; must be a tokenizer.model or tokenizer.json"
    if model.rope_rows is not RopeRows.auto and model.source is not WeightSource.checkpoint:
        yield f"model.rope_rows={model.rope_rows}: must be auto with model.source={model.source}"
    if model.source in (WeightSource.checkpoint, WeightSource.random):
        yield from _shape(model.shape)
    if (model.kind is ModelKind.arithmetic) != (model.source is WeightSource.none):
        yield (
            f"model.source={model.source}: does not go with model.kind={model.kind} "
            "(the arithmetic model has source none, every other model another)"
        )
    size = stack.serving.agent.tensor_parallel
    if size > 1 and model.kind is ModelKind.llama:
        yield (
            f"serving.agent.tensor_parallel={size}: must be 1 with model.kind=llama, "
            "whose weights are not split over devices"
        )
    if dtype not in _DTYPES:
        yield f"device.dtype={dtype}: must be one of {', '.join(_DTYPES)}"


def _shape(shape: ModelShape) -> Iterator[str]:
    sizes = asdict(shape)
    for key in ("vocab_size", "hidden_size", "intermediate_size", "num_layers", "num_heads", "num_kv_heads"):
        if sizes[key] < 1:
            yield f"model.shape.{key}={sizes[key]}: must be at least 1"
            return
    heads, kv_heads, hidden = shape.num_heads, shape.num_kv_heads, shape.hidden_size
    if hidden % heads or hidden // heads % 2:
        yield f"model.shape.num_heads={heads}: must divide model.shape.hidden_size={hidden} into heads of even size"
    if heads % kv_heads:
        yield f"model.shape.num_kv_heads={kv_heads}: must divide model.shape.num_heads={heads}"


def _combinations(stack: StackConfig) -> Iterator[str]:
    serving, seq_length = stack.serving, stack.model.seq_length
    cache, queue = serving.cache, serving.queue
    num_tokens = (cache.num_blocks - 1) * cache.block_size
    if cache.block_size > seq_length:
        yield (
            f"serving.cache.block_size={cache.block_size}: must be at most model.seq_length={seq_length}, "
            "since no sequence is longer"
        )
    elif cache.num_blocks * cache.block_size > _MAX_CACHE_TOKENS:
        yield (
            f"serving.cache.num_blocks={cache.num_blocks}: with serving.cache.block_size={cache.block_size} must be at "
            f"most {_MAX_CACHE_TOKENS // cache.block_size}, since a cache holds at most {_MAX_CACHE_TOKENS} tokens"
        )
    elif cache.block_size >= 1 and cache.num_blocks >= 2 and num_tokens < seq_length:
        yield (
            f"serving.cache.num_blocks={cache.num_blocks}: {cache.num_blocks - 1} blocks (block 0 is reserved) of "
            f"serving.cache.block_size={cache.block_size} hold {num_tokens} tokens, but one sequence of "
            f"model.seq_length={seq_length} must fit: at least {-(-seq_length // cache.block_size) + 1} blocks"
        )
    if queue.max_requests < serving.batch.decode:
        yield (
            f"serving.batch.decode={serving.batch.decode}: must be at most "
            f"serving.queue.max_requests={queue.max_requests}, since running requests count"
        )
