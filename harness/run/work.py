"""What a run is going to send, worked out once before anything starts and handed on to each stage."""

from __future__ import annotations

from dataclasses import dataclass

from harness.load.arrivals import Schedule
from harness.load.prompts import PromptSource


@dataclass(frozen=True)
class Work:
    """The timed points and the prompts of one run."""

    schedules: dict[float, Schedule]  # of every point known beforehand, by rate X; of a search, its first window
    prompts: PromptSource
    logits_prompts: PromptSource | None  # None: no logits task

    @property
    def largest_count(self) -> int:
        """Requests of the largest point known beforehand."""
        return max(schedule.count for schedule in self.schedules.values())
