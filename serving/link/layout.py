"""Where each array of a step lies in shared memory, computed alike by engine and agent. Knows no memory mapping.

The segment holds two step areas, so that one step can be written while the agent runs the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Annotated, Any, get_args, get_type_hints

import numpy as np
from numpy.typing import NDArray

from serving.config import StackConfig
from serving.link.step import Float32, Int32

NUM_AREAS = 2
MAX_TOP_LOGPROBS = 20
_ALIGNMENT = 64  # bytes: a cache line


@dataclass
class Shapes:
    """Most of everything in one step; both sides must agree."""

    max_seqs: int
    max_tokens: int
    max_blocks: int  # per sequence
    block_size: int
    num_blocks: int

    @classmethod
    def from_stack(cls, stack: StackConfig) -> Shapes:
        """The limits that follow from `serving.batch`, `serving.cache`, `serving.prefill` and `model.seq_length`."""
        serving, seq_length = stack.serving, stack.model.seq_length
        return cls(
            max_seqs=serving.batch.decode,  # a prefill step takes no more prompts than there are free places
            # A prompt longer than max_tokens goes alone, as does a preempted sequence with its output.
            max_tokens=max(serving.batch.decode, serving.prefill.max_tokens, seq_length),
            max_blocks=-(-seq_length // serving.cache.block_size),
            block_size=serving.cache.block_size,
            num_blocks=serving.cache.num_blocks,
        )


class _ToAgent:
    """Arrays that the engine writes and the agent reads."""

    input_ids: Annotated[Int32, "max_tokens"]
    slot_mapping: Annotated[Int32, "max_tokens"]
    query_lengths: Annotated[Int32, "max_seqs"]
    context_lengths: Annotated[Int32, "max_seqs"]
    block_tables: Annotated[Int32, "max_table_entries"]  # used as [num_seqs, num_blocks] without gaps
    # -1 = input_ids holds the token, r = the token sampled at row r of the last step
    token_source: Annotated[Int32, "max_seqs"]
    row: Annotated[Int32, "max_seqs"]  # the sequence's place among the running, kept while it runs
    temperature: Annotated[Float32, "max_seqs"]  # 0 = greedy
    top_k: Annotated[Int32, "max_seqs"]  # 0 = all
    top_p: Annotated[Float32, "max_seqs"]
    repetition_penalty: Annotated[Float32, "max_seqs"]  # 1 = none
    seed: Annotated[NDArray[np.uint64], "max_seqs"]
    num_top_logprobs: Annotated[Int32, "max_seqs"]  # -1 = no log-probabilities
    # The first num_logits_rows: sequences of the step whose full logits are wanted.
    logits_rows: Annotated[Int32, "max_seqs"]


class _ToEngine:
    """Arrays that the agent writes and the engine reads."""

    token_ids: Annotated[Int32, "max_seqs"]
    token_logits: Annotated[Float32, "max_seqs"]  # raw
    token_logprobs: Annotated[Float32, "max_seqs"]
    top_ids: Annotated[Int32, "max_seqs", "max_top_logprobs"]
    top_logprobs: Annotated[Float32, "max_seqs", "max_top_logprobs"]
    logits: Annotated[Float32, "max_seqs", "vocab_size"]  # the first num_logits_rows are valid


def _declared(cls: type) -> dict[str, tuple[np.dtype[Any], tuple[str, ...]]]:
    """Type of the elements and names of the dimensions of each array, in order of their declaration."""
    arrays = {name: get_args(hint) for name, hint in get_type_hints(cls, include_extras=True).items()}
    # NDArray[T] is ndarray[shape, dtype[T]].
    return {name: (np.dtype(get_args(get_args(kind)[1])[0]), tuple(shape)) for name, (kind, *shape) in arrays.items()}


_TO_AGENT = _declared(_ToAgent)
_ARRAYS = _TO_AGENT | _declared(_ToEngine)


def _arrays(shapes: Shapes, vocab_size: int) -> Iterator[tuple[str, np.dtype[Any], tuple[int, ...]]]:
    """(name, dtype, shape) of each array of one area, in order."""
    sizes = asdict(shapes) | {
        "max_table_entries": shapes.max_seqs * shapes.max_blocks,
        "max_top_logprobs": MAX_TOP_LOGPROBS,
        "vocab_size": vocab_size,
    }
    for name, (kind, shape) in _ARRAYS.items():
        yield name, kind, tuple(sizes[dimension] for dimension in shape)


def _area_bytes(shapes: Shapes, vocab_size: int) -> int:
    return sum(_padded(kind.itemsize * math.prod(shape)) for _, kind, shape in _arrays(shapes, vocab_size))


def _padded(num_bytes: int) -> int:
    return -(-num_bytes // _ALIGNMENT) * _ALIGNMENT


def segment_bytes(shapes: Shapes, vocab_size: int) -> int:
    """Size of the whole segment."""
    return NUM_AREAS * _area_bytes(shapes, vocab_size)


class Area(_ToAgent, _ToEngine):
    """NumPy views of one step area."""

    def __init__(self, memory: memoryview, index: int, shapes: Shapes, vocab_size: int) -> None:
        offset = index * _area_bytes(shapes, vocab_size)
        for name, kind, shape in _arrays(shapes, vocab_size):
            count = math.prod(shape)
            setattr(self, name, np.frombuffer(memory, kind, count, offset).reshape(shape))
            offset += _padded(kind.itemsize * count)


def copy_step(source: Area, target: Area, num_seqs: int, num_tokens: int, num_blocks: int) -> None:
    """The engine's half of one step, from one agent's area to another's: O(what the step holds)."""
    counts = {"input_ids": num_tokens, "slot_mapping": num_tokens, "block_tables": num_seqs * num_blocks}
    for name in _TO_AGENT:
        count = counts.get(name, num_seqs)
        getattr(target, name)[:count] = getattr(source, name)[:count]


def areas(memory: memoryview, shapes: Shapes, vocab_size: int) -> list[Area]:
    """Views of all step areas of a segment."""
    return [Area(memory, index, shapes, vocab_size) for index in range(NUM_AREAS)]
