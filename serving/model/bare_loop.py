"""`python -m serving.model.bare_loop`: the model without a stack around it, the limit that the stack is measured by.

One prefill of all prompts packed, then decode steps, by nothing but Model.forward and argmax. Reads one JSON object per
line from stdin, {"prompts": token ids per sequence, "max_new_tokens"}, and answers {"wall_s", "token_ids"}.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

from serving.link.step import Int32, Model, StepBatch, StepKind
from serving.model.llama import load
from serving.processes import parent_watch, stack_file


def block_tables(num_seqs: int, num_blocks: int) -> Int32:
    """[num_seqs, num_blocks]: blocks of their own for each sequence; block 0 stays free."""
    return np.arange(1, num_seqs * num_blocks + 1, dtype=np.int32).reshape(num_seqs, num_blocks)


def prefill_batch(prompts: list[list[int]], tables: Int32, block_size: int) -> StepBatch:
    """All prompts end to end, from position 0."""
    lengths = np.array([len(prompt) for prompt in prompts], np.int32)
    positions = np.concatenate([np.arange(length) for length in lengths])
    return StepBatch(
        StepKind.prefill,
        np.concatenate(prompts).astype(np.int32),
        lengths,
        lengths,
        tables[:, : -(-int(lengths.max()) // block_size)],
        slots(tables, np.repeat(np.arange(len(prompts)), lengths), positions, block_size),
    )


def decode_batch(token_ids: Int32, context_lengths: Int32, tables: Int32, block_size: int) -> StepBatch:
    """One token [num_seqs] per sequence, at the last position of its context [num_seqs]."""
    return StepBatch(
        StepKind.decode,
        token_ids,
        np.ones_like(context_lengths),
        context_lengths,
        tables[:, : -(-int(context_lengths.max()) // block_size)],
        slots(tables, np.arange(len(token_ids)), context_lengths - 1, block_size),
    )


def slots(tables: Int32, sequences: Int32, positions: Int32, block_size: int) -> Int32:
    """Where each token's K and V go, [num_tokens]."""
    found: Int32 = (tables[sequences, positions // block_size] * block_size + positions % block_size).astype(np.int32)
    return found


def generate(model: Model, prompts: list[list[int]], max_new_tokens: int, block_size: int) -> list[list[int]]:
    """Greedy continuations, EOS ignored, [num_seqs][max_new_tokens]."""
    lengths = np.array([len(prompt) for prompt in prompts], np.int32)
    tables = block_tables(len(prompts), -(-(int(lengths.max()) + max_new_tokens) // block_size))
    token_ids, _ = model.forward(prefill_batch(prompts, tables, block_size)).argmax()
    steps = [token_ids]
    for _ in range(max_new_tokens - 1):
        lengths = lengths + 1
        token_ids, _ = model.forward(decode_batch(token_ids, lengths, tables, block_size)).argmax()
        steps.append(token_ids)
    continuations: list[list[int]] = np.stack(steps, axis=1).tolist()
    return continuations


def main() -> None:
    """Exits 0 at the end of stdin."""
    parent_watch.die_with_parent()
    parser = argparse.ArgumentParser(prog="python -m serving.model.bare_loop", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="stack.json of a run")
    parser.add_argument("--folder", type=Path, required=True, metavar="DIR", help="MindSpore litters: it does so here")
    arguments = parser.parse_args()
    stack = stack_file.load(arguments.config)
    os.chdir(arguments.folder)
    os.environ.update(stack.device.environment)
    model = load(stack, 0, lambda message, done, total: print(f"{message} {done}/{total}", flush=True))
    model.warm()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        start_ns = time.monotonic_ns()
        token_ids = generate(model, question["prompts"], question["max_new_tokens"], stack.serving.cache.block_size)
        wall_s = (time.monotonic_ns() - start_ns) / 1e9
        print(json.dumps({"wall_s": wall_s, "token_ids": token_ids}), flush=True)


if __name__ == "__main__":
    main()
