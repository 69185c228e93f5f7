"""Counts of what became of requests and tokens, since the start."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(slots=True)
class Counters:
    """submitted = finished + failed + cancelled + those still live; rejected ones were never submitted."""

    submitted: int = 0
    finished_eos: int = 0
    finished_length: int = 0
    finished_stop: int = 0
    failed: int = 0
    cancelled: int = 0
    rejected_queue_full: int = 0
    rejected_unavailable: int = 0
    rejected_invalid: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0

    def as_dict(self) -> dict[str, int]:
        """All counts, and `finished`, the sum of the three."""
        return {**asdict(self), "finished": self.finished_eos + self.finished_length + self.finished_stop}
