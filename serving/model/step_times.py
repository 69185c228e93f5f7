"""`python -m serving.model.step_times --config stack.json --folder DIR`: what a step costs by its number of rows.

Steps of all sizes take turns, so that a machine that grows slower meanwhile favours none. Best and median, in wall time
and in processor time of all threads (which others disturb less); seconds to load and to be ready; memory. JSON last.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from serving.link.step import Int32, StepRows
from serving.model.llama import LlamaModel, load
from serving.processes import parent_watch, stack_file


def decode(num_seqs: int, context_length: int, block_size: int) -> StepRows:
    """One row of each sequence, all of the same context."""
    blocks = -(-context_length // block_size)
    tables = np.arange(1, num_seqs * blocks + 1, dtype=np.int32).reshape(num_seqs, blocks)
    last = context_length - 1
    each = np.arange(num_seqs, dtype=np.int32)
    slots = (tables[:, last // block_size] * block_size + last % block_size).astype(np.int32)
    ids, lengths = np.full(num_seqs, 5, np.int32), np.full(num_seqs, context_length, np.int32)
    return StepRows(ids, slots, lengths, each, tables, each)


def prompt(num_tokens: int, block_size: int) -> StepRows:
    """A whole prompt, of whose last row logits are wanted."""
    positions: Int32 = np.arange(num_tokens, dtype=np.int32)
    tables = np.arange(1, -(-num_tokens // block_size) + 1, dtype=np.int32)[None]
    slots = (tables[0, positions // block_size] * block_size + positions % block_size).astype(np.int32)
    wanted = np.array([num_tokens - 1], np.int32)
    return StepRows(10 + positions, slots, positions + 1, np.zeros(num_tokens, np.int32), tables, wanted)


def measure(model: LlamaModel, steps: dict[str, StepRows], num_rounds: int) -> dict[str, dict[str, float]]:
    """By step: ms_best, ms_median, cpu_ms_median."""
    wall: dict[str, list[float]] = {name: [] for name in steps}
    cpu: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(num_rounds):
        for name, step in steps.items():
            start_s, start_cpu_s = time.perf_counter(), time.process_time()
            model.step(step).argmax()
            wall[name].append((time.perf_counter() - start_s) * 1e3)
            cpu[name].append((time.process_time() - start_cpu_s) * 1e3)
    return {
        name: {"ms_best": min(wall[name]), "ms_median": median(wall[name]), "cpu_ms_median": median(cpu[name])}
        for name in steps
    }


def main() -> None:
    """Exits 0."""
    parent_watch.die_with_parent()
    parser = argparse.ArgumentParser(prog="python -m serving.model.step_times", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="stack.json of a run")
    parser.add_argument("--folder", type=Path, required=True, metavar="DIR", help="MindSpore litters: it does so here")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--dynamic", action="store_true", help="no graphs of fixed size")
    arguments = parser.parse_args()
    stack = stack_file.load(arguments.config)
    os.chdir(arguments.folder)
    start_s, start_cpu_s = time.monotonic(), time.process_time()
    model = load(stack, 0, lambda message, done, total: None)
    load_s = time.monotonic() - start_s
    model.warm()
    ready = {"load_s": load_s, "ready_s": time.monotonic() - start_s, "ready_cpu_s": time.process_time() - start_cpu_s}
    if arguments.dynamic:
        model.use_dynamic_graph_only()
    block_size, num_blocks = stack.serving.cache.block_size, stack.serving.cache.num_blocks
    context = min(64, (num_blocks - 1) // 32 * block_size)
    steps = {f"decode {count} at {context}": decode(count, context, block_size) for count in (1, 8, 32)}
    longest = min(stack.model.seq_length, (num_blocks - 1) * block_size)
    steps |= {f"prompt {count}": prompt(count, block_size) for count in (32, 192, 512) if count <= longest}
    result: dict[str, Any] = {**ready, "steps": measure(model, steps, arguments.rounds)}
    result["rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    for name, figures in result["steps"].items():
        print(f"{name:<18}" + "  ".join(f"{key} {value:8.1f}" for key, value in figures.items()))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
