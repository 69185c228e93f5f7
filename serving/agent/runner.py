"""Runs one step: area -> batch -> forward -> sample -> area, with the time of each part. Knows no sockets."""

from __future__ import annotations

import time
from typing import Protocol

import numpy as np

from serving.agent.batch import build_batch, check_step
from serving.agent.sampler import Sampler
from serving.fake import fake_token
from serving.link.layout import Area, Shapes
from serving.link.message import Step
from serving.link.step import Model


class Runner(Protocol):
    """Answers a step in its area; returns (pre_ns, forward_ns, sample_ns)."""

    def run(self, step: Step, area: Area) -> tuple[int, int, int]:
        """Raises LinkError for a step that does not fit, and whatever the model raises."""
        ...


class ModelRunner:
    """Steps through a model."""

    def __init__(self, model: Model, shapes: Shapes) -> None:
        self._model = model
        self._shapes = shapes
        self._sampler = Sampler(model.vocab_size)
        self._previous_ids = np.zeros(0, np.int32)

    def run(self, step: Step, area: Area) -> tuple[int, int, int]:
        """One forward pass and its tokens."""
        started_ns = time.monotonic_ns()
        check_step(step, self._shapes)
        batch = build_batch(step, area, self._previous_ids)
        built_ns = time.monotonic_ns()
        logits = self._model.forward(batch)
        forwarded_ns = time.monotonic_ns()
        self._sampler.sample(step, area, batch, logits)
        self._previous_ids = area.token_ids[: step.num_seqs]  # stays as it is until the step after the next
        return built_ns - started_ns, forwarded_ns - built_ns, time.monotonic_ns() - forwarded_ns


class FakeRunner:
    """serving.fake=agent: the tokens of serving/fake.py, without batch, model or sampler."""

    def __init__(self, shapes: Shapes) -> None:
        self._shapes = shapes

    def run(self, step: Step, area: Area) -> tuple[int, int, int]:
        """Answer from the context lengths alone."""
        started_ns = time.monotonic_ns()
        check_step(step, self._shapes)
        area.token_ids[: step.num_seqs] = [fake_token(n) for n in area.context_lengths[: step.num_seqs].tolist()]
        area.token_logits[: step.num_seqs] = 0
        return time.monotonic_ns() - started_ns, 0, 0
