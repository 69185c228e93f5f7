"""When to plan the next step: late enough for new requests to join it, early enough for the device not to wait.

Pure: nanoseconds in, nanoseconds out. Knows no clock, no timer and no queue. A step planned the moment the previous
step starts would keep the device as busy, but a request that arrives meanwhile would wait one whole step more.
"""

from __future__ import annotations

from serving.engine.plan import StepPlan
from serving.link.step import StepKind

_MARGIN_NS = 3_000_000  # planning, the link, and a timer that is up to 1 ms late
_MARGIN_SHARE = 0.03  # of the predicted time, for its spread
_WEIGHT = 0.25  # of the newest step in the running mean


class Pacing:
    """Predicts step times from those of like steps (same kind, size within a factor of two)."""

    def __init__(self) -> None:
        self._mean_ns: dict[tuple[StepKind, int], float] = {}

    def observe(self, plan: StepPlan, duration_ns: int) -> None:
        """A step took so long on the device."""
        key = _key(plan)
        mean = self._mean_ns.get(key)
        self._mean_ns[key] = duration_ns if mean is None else mean + _WEIGHT * (duration_ns - mean)

    def lead_ns(self, plan: StepPlan) -> int | None:
        """Nanoseconds after the start of `plan` at which to plan the step behind it.

        0 = at once, since it will be over in no time. None = with its reply, since no like step has been seen.
        """
        mean = self._mean_ns.get(_key(plan))
        if mean is None:
            return None
        return max(0, int(mean * (1 - _MARGIN_SHARE)) - _MARGIN_NS)


def _key(plan: StepPlan) -> tuple[StepKind, int]:
    return plan.kind, len(plan.input_ids).bit_length()
