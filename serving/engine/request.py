"""What a caller hands to the engine, what it gets back, and how it is refused. Knows no text: token ids only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How the next token is chosen. Reproducible from `seed` whatever else runs in the batch."""

    max_new_tokens: int
    temperature: float = 0.0  # 0 = greedy, exactly the argmax
    top_k: int = 0  # 0 = all
    top_p: float = 1.0
    repetition_penalty: float = 1.0  # over prompt and output, as Hugging Face's RepetitionPenaltyLogitsProcessor
    seed: int | None = None  # None = the engine draws one
    ignore_eos: bool = False
    top_logprobs: int | None = None  # None = no log-probabilities; 0 = the token's own; n <= 20: also the n best


@dataclass(frozen=True, slots=True)
class Capture:
    """Which logits rows to keep, by absolute position of the token just fed; the last prompt position always."""

    prompt_id: str  # the stem of the files: letters, digits, `.`, `_`, `-`
    every: int = 0  # every k-th position, 0 = none
    positions: tuple[int, ...] = ()  # these positions too; those before the last prompt token give no row


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One prompt to continue. prompt tokens + max_new_tokens may not exceed `model.seq_length`."""

    request_id: str
    prompt_ids: list[int]
    sampling: SamplingParams
    capture: Capture | None = None
    forced_ids: list[int] | None = None  # teacher forcing: appended instead of what the model would choose
    eos_token_ids: tuple[int, ...] = ()  # generation ends after one of these ("eos") unless ignore_eos
    stop_token_ids: tuple[int, ...] = ()  # generation ends after one of these ("stop")


@dataclass(slots=True)
class Token:
    """One token of output, the last one (EOS or stop token) included."""

    token_id: int
    logit: float  # raw logit of the token (the contest protocol calls it "logprob")
    index: int  # 0 = first token of output
    time_ns: int  # time.monotonic_ns() when the engine published it
    logprob: float | None = None  # log-softmax of the raw logits, if SamplingParams.top_logprobs is not None
    top_logprobs: list[tuple[int, float]] | None = None  # (token id, log-probability), most likely first


@dataclass(slots=True)
class Timings:
    """Instants of one request on time.monotonic_ns(); 0 = never happened."""

    submitted_ns: int = 0
    scheduled_ns: int = 0  # its first prefill step was planned
    first_token_ns: int = 0
    ended_ns: int = 0

    @property
    def queue_ms(self) -> float:
        """Submitted until first planned; until the end if it never was."""
        return ((self.scheduled_ns or self.ended_ns) - self.submitted_ns) / 1e6

    @property
    def prefill_ms(self) -> float:
        """First planned until the first token, 0 if there was none."""
        return (self.first_token_ns - self.scheduled_ns) / 1e6 if self.first_token_ns else 0.0

    @property
    def decode_ms(self) -> float:
        """First token until the end, 0 if there was no token."""
        return (self.ended_ns - self.first_token_ns) / 1e6 if self.first_token_ns else 0.0


FinishReason = Literal["eos", "length", "stop"]


@dataclass(slots=True)
class Finished:
    """Generation ran to its end."""

    reason: FinishReason
    timings: Timings
    num_prompt_tokens: int
    num_output_tokens: int
    num_cached_tokens: int = 0  # prompt tokens that prefix reuse saved
    num_preemptions: int = 0


@dataclass(slots=True)
class Failed:
    """Generation broke: kind "agent_lost" (link or process gone), "agent_error" (the model raised), "capture" or
    "shutdown"."""

    message: str
    kind: str
    timings: Timings


@dataclass(slots=True)
class Cancelled:
    """Generation was ended early by cancel() (its reason), or because the reader fell too far behind."""

    reason: str
    timings: Timings


Terminal = Finished | Failed | Cancelled
Event = Token | Terminal


class QueueFull(Exception):
    """`serving.queue.max_requests` are waiting or running: answer 429."""

    def __init__(self, limit: int, retry_after_s: int) -> None:
        super().__init__(f"the queue is full: {limit} requests (serving.queue.max_requests)")
        self.retry_after_s = retry_after_s


class Unavailable(Exception):
    """No agent can take the request now: answer 503. `str()` says why."""


# The original server's words for two refusals.
PROMPT_EMPTY = "prompt_token_ids_empty"
PROMPT_TOO_LONG = "prompt_out_of_range"


class InvalidRequest(ValueError):
    """A field of the request is out of range: answer 400. `field` is this API's name, e.g. "prompt_ids"."""

    def __init__(self, field: str, message: str, kind: str = "invalid_request") -> None:
        super().__init__(message)
        self.field = field
        self.message = message
        self.kind = kind  # snake_case, stable: for programs
