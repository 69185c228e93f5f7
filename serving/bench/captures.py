"""`make bench-captures`: what capturing logits costs a decode step.

The same engine, asked by turns for no capture, for captures without rows (every=0) and for a row every 8 positions. One
process, no link and no HTTP: plan, arrays, sampler, completion and publishing around a model that takes no time. The
last line printed is JSON.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from serving.agent.runner import ModelRunner
from serving.config import StackConfig
from serving.engine.captures import CaptureStore
from serving.engine.counters import Counters
from serving.engine.live import LiveRequest, LiveRequests
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
BATCH_SIZES = (1, 8, 64)
CASES: dict[str, int | None] = {"none": None, "every0": 0, "every8": 8}  # Capture.every; None = no capture


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


def step_us(batch_size: int, num_steps: int, every: int | None, folder: Path) -> tuple[float, int]:
    """Mean time of a decode step in µs, and float32 values taken from the device per step. every None: no capture."""
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
        capture = None if every is None else Capture(name, every)
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
    """All cases by turns, every other round in reverse; medians over the rounds."""
    times: dict[str, list[float]] = {name: [] for name in CASES}
    values: dict[str, int] = {}
    for number in range(num_rounds):
        for name in list(CASES)[:: -1 if number % 2 else 1]:
            with tempfile.TemporaryDirectory() as folder:
                took_us, values[name] = step_us(batch_size, num_steps, CASES[name], Path(folder))
            times[name].append(took_us)
    print(f"\nbatch {batch_size}: host time of a decode step, medians of {num_rounds} rounds of {num_steps} steps")
    figures: dict[str, float] = {}
    for name, each in times.items():
        step = statistics.median(each)
        # What the machine did during one round is in all its cases: differences are taken round by round.
        extra = statistics.median(a - b for a, b in zip(each, times["none"], strict=True))
        print(f"  {name:<8}{step:9.2f} µs {extra:+9.2f} µs  {values[name]} float32 logits per step")
        figures[f"{name}_step_us_b{batch_size}"] = step
        figures[f"{name}_extra_us_b{batch_size}"] = extra
        figures[f"{name}_logits_per_step_b{batch_size}"] = values[name]
    return figures


def main() -> None:
    """Measure at each batch size."""
    parser = argparse.ArgumentParser(prog="python -m serving.bench.captures", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=400)
    options = parser.parse_args()
    figures: dict[str, float] = {}
    for batch_size in BATCH_SIZES:
        figures |= measure(batch_size, options.steps, options.rounds)
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
