"""Scheduler, shared-memory arrays and the arithmetic model in one process, one call at a time; no loop, no link."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from serving.agent.arithmetic import EOS_ID, ArithmeticModel
from serving.agent.runner import ModelRunner
from serving.config import ModelKind, Policy, StackConfig, WeightSource
from serving.engine.plan import StepPlan
from serving.engine.policy import max_steps_in_flight
from serving.engine.request import GenerationRequest, SamplingParams
from serving.engine.scheduler import Scheduler
from serving.engine.sequence import Sequence, new_sequence
from serving.engine.step_writer import StepWriter
from serving.link.layout import NUM_AREAS, Shapes, areas, segment_bytes
from serving.link.message import Step


def small_stack(
    *,
    policy: Policy = Policy.prefill_first,
    decode: int = 4,
    block_size: int = 4,
    num_blocks: int = 17,
    seq_length: int = 64,
    max_prompts: int = 4,
    max_tokens: int = 64,
    prefix_reuse: bool = False,
    chunked: bool = False,
    pipeline: bool = True,
    step_ms: float = 0.0,
) -> StackConfig:
    """A stack with the arithmetic model and little memory."""
    stack = StackConfig()
    stack.model.kind, stack.model.source = ModelKind.arithmetic, WeightSource.none
    stack.model.seq_length = seq_length
    stack.device.arithmetic_step_ms = step_ms
    serving = stack.serving
    serving.policy, serving.pipeline = policy, pipeline
    serving.batch.decode = decode
    serving.cache.block_size, serving.cache.num_blocks = block_size, num_blocks
    serving.cache.prefix_reuse = prefix_reuse
    serving.prefill.max_prompts, serving.prefill.max_tokens = max_prompts, max_tokens
    serving.prefill.chunked = chunked
    return stack


def expected_output(prompt_ids: list[int], max_new_tokens: int, eos: bool = True) -> list[int]:
    """What the arithmetic model answers to a prompt, by the rule in its docstring."""
    ids = list(prompt_ids)
    for _ in range(max_new_tokens):
        total = sum((index + 1) * token for index, token in enumerate(ids))
        ids.append(EOS_ID if total % 4099 == 0 else total % 256)
        if eos and ids[-1] == EOS_ID:
            break
    return ids[len(prompt_ids) :]


@dataclass
class EngineForTests:
    """Plans, runs and completes steps when told to."""

    stack: StackConfig
    depth: int = 0  # 0 = as the configuration says
    flights: deque[tuple[StepPlan, list[int]]] = field(default_factory=deque)
    steps: list[tuple[str, int, int]] = field(default_factory=list)  # (kind, sequences, tokens) of every step
    outputs: dict[str, list[int]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    num_requests: int = 0

    def __post_init__(self) -> None:
        self.depth = self.depth or max_steps_in_flight(self.stack.serving)
        self.scheduler = Scheduler(self.stack.serving)
        shapes = Shapes.from_stack(self.stack)
        model = ArithmeticModel(shapes, 0.0)
        memory = memoryview(bytearray(segment_bytes(shapes, model.vocab_size)))
        self._areas = areas(memory, shapes, model.vocab_size)
        self._writer = StepWriter(shapes)
        self._runner = ModelRunner(model, shapes)

    def submit(
        self, prompt_ids: list[int], max_new_tokens: int, *, sampling: SamplingParams | None = None, seed: int = 0
    ) -> Sequence:
        """Queue a request; its id is its number."""
        self.num_requests += 1
        sampling = sampling or SamplingParams(max_new_tokens)
        request = GenerationRequest(str(self.num_requests), prompt_ids, sampling, eos_token_ids=(EOS_ID,))
        sequence = new_sequence(request, self.num_requests, seed)
        self.scheduler.add(sequence)
        self.outputs[request.request_id] = []
        return sequence

    def send(self) -> bool:
        """Plan and run one step if there is room and work; its tokens stay in flight."""
        if len(self.flights) == self.depth:
            return False
        plan = self.scheduler.plan()
        if plan is None:
            return False
        number = len(self.steps)
        area = self._areas[number % NUM_AREAS]
        num_blocks, flags = self._writer.write(plan, area)
        num_seqs, num_tokens = len(plan.sequences), len(plan.input_ids)
        step = Step(number, number % NUM_AREAS, plan.kind, flags, num_seqs, num_tokens, num_blocks, 0, 0)
        self._runner.run(step, area)
        self.steps.append((plan.kind.name, num_seqs, num_tokens))
        self.flights.append((plan, area.token_ids[:num_seqs].tolist()))
        return True

    def answer(self) -> bool:
        """Take the reply to the oldest step in flight."""
        if not self.flights:
            return False
        plan, token_ids = self.flights.popleft()
        for outcome in self.scheduler.complete(plan, token_ids):
            request_id = outcome.sequence.request.request_id
            self.outputs[request_id].append(outcome.token_id)
            if outcome.reason is not None:
                assert request_id not in self.reasons
                self.reasons[request_id] = outcome.reason
        return True

    def run(self, max_steps: int = 10_000) -> None:
        """Until nothing is left to do, two steps in flight where the depth allows."""
        for _ in range(max_steps):
            while self.send():
                continue
            if not self.answer():
                break
        assert self.scheduler.idle, "work is left but no step can be planned: a deadlock"
        self.scheduler.check_idle()
