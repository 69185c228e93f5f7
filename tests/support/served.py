"""Serves prompts as the engine does, in one process: scheduler, step arrays, runner, sampler, captures. No link.

Then the harness's own comparison judges what was captured. Any model will do.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.accuracy import Comparison, Tolerance, compare_folders
from serving.agent.runner import ModelRunner
from serving.config import StackConfig
from serving.engine.captures import CaptureFile, CaptureStore
from serving.engine.plan import StepPlan
from serving.engine.policy import max_steps_in_flight
from serving.engine.request import Capture, GenerationRequest, SamplingParams
from serving.engine.scheduler import Scheduler
from serving.engine.sequence import new_sequence
from serving.engine.step_writer import StepWriter
from serving.link.layout import NUM_AREAS, Shapes, areas, segment_bytes
from serving.link.message import Step
from serving.link.step import Float32, Model
from serving.reference import tool
from serving.reference.tool import Reference

Rows = Callable[[list[int], list[int]], Float32]  # (token ids, positions) -> logits, by an independent path


@dataclass(frozen=True)
class Prompt:
    """One request; every logits row of its output is captured."""

    prompt_id: str
    token_ids: list[int]
    max_new_tokens: int


def serve(stack: StackConfig, model: Model, prompts: Sequence[Prompt], folder: Path) -> None:
    """Generate greedily for all prompts together, and leave their captures in `folder`."""
    shapes = Shapes.from_stack(stack)
    memory = memoryview(bytearray(segment_bytes(shapes, model.vocab_size)))
    step_areas, writer = areas(memory, shapes, model.vocab_size), StepWriter(shapes)
    scheduler, runner, store = Scheduler(stack.serving), ModelRunner(model, shapes), CaptureStore(folder)
    captures: dict[str, CaptureFile] = {}
    for number, prompt in enumerate(prompts):
        request = GenerationRequest(
            prompt.prompt_id, prompt.token_ids, SamplingParams(prompt.max_new_tokens, ignore_eos=True),
            capture=Capture(prompt.prompt_id, every=1),
        )  # fmt: skip
        scheduler.add(new_sequence(request, number, seed=0))
        captures[prompt.prompt_id] = store.begin(prompt.prompt_id, prompt.token_ids)
    flights: deque[tuple[StepPlan, list[int], Float32]] = deque()
    number = 0
    while True:
        plan = scheduler.plan() if len(flights) < max_steps_in_flight(stack.serving) else None
        if plan is not None:
            area = step_areas[number % NUM_AREAS]
            num_blocks, flags = writer.write(plan, area)
            num_seqs, num_rows = len(plan.sequences), len(plan.logits_rows)
            step = Step(number, number % NUM_AREAS, plan.kind, flags, num_seqs, len(plan.input_ids), num_blocks,
                        num_rows, 0)  # fmt: skip
            runner.run(step, area)
            flights.append((plan, area.token_ids[:num_seqs].tolist(), area.logits[:num_rows].copy()))
            number += 1
        elif flights:
            _answer(scheduler, store, captures, *flights.popleft())
        else:
            break
    scheduler.check_idle()
    store.stop()
    assert not captures


def _answer(
    scheduler: Scheduler, store: CaptureStore, captures: dict[str, CaptureFile], plan: StepPlan, token_ids: list[int],
    logits: Float32,
) -> None:  # fmt: skip
    rows = dict(zip(plan.logits_rows, logits, strict=True))
    for outcome in scheduler.complete(plan, token_ids):
        sequence = outcome.sequence
        capture = captures[sequence.request.request_id]
        capture.chosen_ids.append(token_ids[outcome.index])
        if outcome.index in rows:
            position = plan.context_lengths[outcome.index] - 1
            store.add(capture, position, len(plan.sequences), rows[outcome.index])
        if outcome.reason is not None:
            store.save(capture, sequence.ids[sequence.num_prompt :], Future.result)  # raises what saving raised
            del captures[sequence.request.request_id]


def write_reference(captured: Path, out: Path, vocab_size: int, rows: Rows) -> None:
    """What the independent path says to every capture."""
    out.mkdir(parents=True)
    reference = Reference(rows, "for tests", vocab_size)
    for capture in tool.read_captures(captured):
        logits, chosen_ids = tool.answer(reference, capture)
        np.save(out / f"{capture.path.stem}.npy", logits)
        (out / capture.path.name).write_text(json.dumps({**capture.about, "chosen_ids": chosen_ids}))


def check(
    stack: StackConfig, model: Model, rows: Rows, prompts: Sequence[Prompt], folder: Path,
    tolerance: Tolerance | None = None,
) -> Comparison:  # fmt: skip
    """Serve, compute the reference, and compare: folder/captures with folder/reference."""
    serve(stack, model, prompts, folder / "captures")
    write_reference(folder / "captures", folder / "reference", model.vocab_size, rows)
    return compare_folders(folder / "reference", folder / "captures", tolerance or Tolerance())
