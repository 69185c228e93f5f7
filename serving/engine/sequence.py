"""One request as the scheduler sees it: ids, blocks, and how far the device has been told to go. Knows no clock."""

from __future__ import annotations

from dataclasses import dataclass, field

from serving.engine.request import FinishReason, GenerationRequest, Timings


@dataclass(slots=True, eq=False)
class Sequence:
    """State of one live request. Only the scheduler changes it (`num_tabled` and `timings` belong to the loop)."""

    request: GenerationRequest
    number: int  # order of arrival
    seed: int
    num_prompt: int
    last_length: int  # prompt tokens + max_new_tokens
    ends: dict[int, FinishReason]  # tokens that end the output
    plain: bool  # greedy, no penalty, no log-probabilities: the agent needs no sampling arrays
    ids: list[int]  # prompt and the output known so far
    blocks: list[int] = field(default_factory=list)
    chain: list[int] = field(default_factory=list)  # content ids of the full blocks that the prefix index knows
    num_cached: int = 0  # tokens in the cache once every step sent so far has run
    in_flight: int = 0  # steps sent and not answered that hold this sequence
    row: int = -1  # place among the running, -1 = none
    last_index: int = -1  # its index in the last step that held it
    num_tabled: int = 0  # blocks already copied to the worker's block table
    ended: bool = False
    num_reused_tokens: int = 0
    num_preemptions: int = 0
    timings: Timings = field(default_factory=Timings)

    @property
    def num_output(self) -> int:
        """Output tokens known so far."""
        return len(self.ids) - self.num_prompt

    @property
    def prefilling(self) -> bool:
        """Whether the cache still lacks more than the newest token."""
        return self.num_cached == 0 or len(self.ids) - self.num_cached > 1

    def forced(self, index: int) -> int | None:
        """The token that teacher forcing puts at output position `index`, if any."""
        forced_ids = self.request.forced_ids
        return forced_ids[index] if forced_ids is not None and index < len(forced_ids) else None

    def wants_logits(self, position: int) -> bool:
        """Whether the row after the token at `position` is to be captured."""
        capture = self.request.capture
        if capture is None:
            return False
        if position == self.num_prompt - 1 or position in capture.positions:
            return True
        return capture.every > 0 and position % capture.every == 0


def new_sequence(request: GenerationRequest, number: int, seed: int) -> Sequence:
    """The state of a request that has not started."""
    sampling = request.sampling
    ends: dict[int, FinishReason] = dict.fromkeys(request.stop_token_ids, "stop")
    if not sampling.ignore_eos:
        ends |= dict.fromkeys(request.eos_token_ids, "eos")
    greedy = sampling.temperature == 0 and sampling.repetition_penalty == 1
    return Sequence(
        request=request,
        number=number,
        seed=seed,
        num_prompt=len(request.prompt_ids),
        last_length=len(request.prompt_ids) + sampling.max_new_tokens,
        ends=ends,
        plain=greedy and sampling.top_logprobs is None,
        ids=list(request.prompt_ids),
    )
