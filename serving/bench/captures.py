"""`make bench-captures`: what capturing logits costs a decode step, when nobody asks and when everybody does.

One process, no link and no HTTP: plan, arrays, sampler, completion and publishing around a model that takes no time.
`without` is the very same code with every statement that speaks of captures cut out of its syntax tree. The last line
printed is JSON.
"""

from __future__ import annotations

import argparse
import ast
import gc
import inspect
import json
import statistics
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from serving.agent.runner import ModelRunner
from serving.agent.sampler import Sampler
from serving.config import StackConfig
from serving.engine.captures import CaptureStore
from serving.engine.counters import Counters
from serving.engine.live import LiveRequest, LiveRequests
from serving.engine.plan import StepPlan
from serving.engine.request import Capture, GenerationRequest, SamplingParams
from serving.engine.scheduler import Scheduler
from serving.engine.sequence import new_sequence
from serving.engine.step_writer import StepWriter
from serving.engine.stream import ResultStream
from serving.engine.worker import StepResult
from serving.link.layout import NUM_AREAS, Shapes, areas, segment_bytes
from serving.link.message import Step
from serving.link.step import Float32, Int32, StepBatch

VOCAB_SIZE = 32_000
PROMPT_TOKENS = 16
EVERY = 8
_ON_THE_WAY = ((StepPlan, "add"), (StepWriter, "write"), (Sampler, "sample"), (LiveRequests, "publish"))
_WORDS = ("capture", "logits_rows", "num_logits_rows")


class InstantModel:
    """Answers at once; counts the float32 values that leave the device, argmax pairs apart."""

    vocab_size = VOCAB_SIZE

    def __init__(self, batch_size: int) -> None:
        self.num_values_out = 0
        self._ids, self._values = np.zeros(batch_size, np.int32), np.zeros(batch_size, np.float32)
        self._rows = np.random.default_rng(0).normal(0, 5, (batch_size, VOCAB_SIZE)).astype(np.float32)

    def forward(self, batch: StepBatch) -> InstantModel:
        return self

    def argmax(self) -> tuple[Int32, Float32]:
        return self._ids, self._values

    def rows(self, indices: Int32) -> Float32:
        self.num_values_out += len(indices) * VOCAB_SIZE
        return self._rows[indices]

    def warm(self) -> None:
        """Nothing to do."""


class _CutCaptures(ast.NodeTransformer):
    """Drops statements about captures; `num_cut` says how many."""

    num_cut = 0

    def visit(self, node: ast.AST) -> Any:
        """Drop the statement, or look inside it."""
        if isinstance(node, ast.If | ast.Assign) and self._speaks_of_captures(node):
            self.num_cut += 1
            return None
        return self.generic_visit(node)

    @staticmethod
    def _speaks_of_captures(node: ast.If | ast.Assign) -> bool:
        subject = node.test if isinstance(node, ast.If) else node.targets[0]
        names = {
            part.attr if isinstance(part, ast.Attribute) else getattr(part, "id", "") for part in ast.walk(subject)
        }
        return any(word in names for word in _WORDS)


def cut(function: Callable[..., Any]) -> tuple[Callable[..., Any], int]:
    """The function without its statements about captures, and how many those were."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    cutter = _CutCaptures()
    scope = dict(inspect.unwrap(function).__globals__)
    code = compile(ast.fix_missing_locations(cutter.visit(tree)), inspect.getfile(function), "exec", dont_inherit=True,
                   flags=__import__("__future__").annotations.compiler_flag)  # fmt: skip
    exec(code, scope)
    made: Callable[..., Any] = scope[function.__name__]
    return made, cutter.num_cut


@contextmanager
def without_captures() -> Iterator[int]:
    """The engine without the feature; yields how many statements were cut out."""
    before = [(owner, name, getattr(owner, name)) for owner, name in _ON_THE_WAY]
    made = [cut(function) for _, _, function in before]
    try:
        for (owner, name, _), (function, _) in zip(before, made, strict=True):
            setattr(owner, name, function)
        yield sum(num_cut for _, num_cut in made)
    finally:
        for owner, name, function in before:
            setattr(owner, name, function)


def step_us(batch_size: int, num_steps: int, every: int, folder: Path) -> tuple[float, int]:
    """Mean time of a decode step in µs, and float32 values taken from the device per step. every 0 = nobody asks."""
    stack = StackConfig()
    stack.model.seq_length = PROMPT_TOKENS + num_steps + 2
    serving = stack.serving
    serving.batch.decode, serving.prefill.max_prompts, serving.prefill.max_tokens = batch_size, batch_size, 65_536
    serving.cache.num_blocks = 1 + batch_size * -(-stack.model.seq_length // serving.cache.block_size)
    serving.pipeline = False
    shapes = Shapes.from_stack(stack)
    step_areas = areas(memoryview(bytearray(segment_bytes(shapes, VOCAB_SIZE))), shapes, VOCAB_SIZE)
    model, writer, scheduler = InstantModel(batch_size), StepWriter(shapes), Scheduler(serving)
    runner, store = ModelRunner(model, shapes), CaptureStore(folder)
    live = LiveRequests(store, Counters())
    for number in range(batch_size):
        name = f"p-{number}"
        capture = Capture(name, every) if every else None
        sampling = SamplingParams(num_steps + 2, ignore_eos=True)
        sequence = new_sequence(GenerationRequest(name, [1] * PROMPT_TOKENS, sampling, capture), number, 0)
        file = store.begin(name, sequence.request.prompt_ids) if capture else None
        live.open(LiveRequest(sequence, ResultStream(name, 0, 1 << 30, lambda *_: None), file))
        scheduler.add(sequence)

    def step(number: int) -> None:
        plan, area = scheduler.plan(), step_areas[number % NUM_AREAS]
        assert plan is not None
        width, flags = writer.write(plan, area)
        count, num_rows = len(plan.sequences), len(plan.logits_rows)
        runner.run(
            Step(number, number % NUM_AREAS, plan.kind, flags, count, len(plan.input_ids), width, num_rows, 0), area
        )
        logits = area.logits[:num_rows].copy() if num_rows else None
        ids, values = area.token_ids[:count].tolist(), area.token_logits[:count].tolist()
        result = StepResult(number, ids, values, None, None, logits, 0, 0, 0, 0, 0, 0)
        live.publish(plan, scheduler.complete(plan, ids), result)

    step(0)  # the prefill
    model.num_values_out = 0
    gc.collect()
    gc.disable()
    begin = time.perf_counter()
    for number in range(1, num_steps + 1):
        step(number)
    store.stop()  # rows on their way to disk count
    took_s = time.perf_counter() - begin
    gc.enable()
    return took_s / num_steps * 1e6, model.num_values_out // num_steps


def measure(batch_size: int, num_steps: int, num_rounds: int) -> dict[str, float]:
    """All by turns, `with` twice to see the noise; medians over the rounds."""
    times: dict[str, list[float]] = {"with": [], "without": [], "again": [], "asked": []}
    values = {"with": 0, "again": 0, "asked": 0}
    num_cut = 0
    for number in range(num_rounds):
        order = list(times)
        for name in order if number % 2 else order[::-1]:
            with tempfile.TemporaryDirectory() as folder:
                if name == "without":
                    with without_captures() as num_cut:
                        took, _ = step_us(batch_size, num_steps, 0, Path(folder))
                else:
                    took, values[name] = step_us(batch_size, num_steps, EVERY if name == "asked" else 0, Path(folder))
            times[name].append(took)
    median = {name: statistics.median(each) for name, each in times.items()}
    # What one round's machine did to both is in both: the difference is taken round by round.
    extra, noise = (
        statistics.median(a - b for a, b in zip(times["with"], times[other], strict=True))
        for other in ("without", "again")
    )
    print(f"\nbatch {batch_size}: host time of a decode step, medians of {num_rounds} rounds of {num_steps} steps")
    print(f"  without the feature ({num_cut} statements cut out)  {median['without']:8.2f} µs")
    print(f"  with it, nobody asks                        {median['with']:8.2f} µs  {extra:+.2f} µs, "
          f"{extra / batch_size * 1e3:+.1f} ns per sequence; {values['with']} logits leave the device")  # fmt: skip
    print(f"  the same again                              {median['again']:8.2f} µs  {noise:+.2f} µs: the noise")
    print(f"  every request asks for each {EVERY}th position    {median['asked']:8.2f} µs  "
          f"{values['asked']} float32 logits per step to disk")  # fmt: skip
    return {
        f"without_step_us_b{batch_size}": median["without"],
        f"with_step_us_b{batch_size}": median["with"],
        f"extra_us_b{batch_size}": extra,
        f"extra_ns_per_sequence_b{batch_size}": extra / batch_size * 1e3,
        f"noise_us_b{batch_size}": noise,
        f"logits_moved_unasked_b{batch_size}": values["with"],
        f"asked_step_us_b{batch_size}": median["asked"],
        f"asked_logits_per_step_b{batch_size}": values["asked"],
    }


def main() -> None:
    """Measure at each batch size."""
    parser = argparse.ArgumentParser(prog="python -m serving.bench.captures", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=400)
    options = parser.parse_args()
    figures: dict[str, float] = {}
    for batch_size in (1, 8, 64):
        figures |= measure(batch_size, options.steps, options.rounds)
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
