"""Counts what became of every request, by protocol and outcome. Knows no protocol."""

from __future__ import annotations

from collections import Counter

FINISHED = "finished"
FAILED = "failed"
CLIENT_LEFT = "client_left"
CLIENT_TOO_SLOW = "client_too_slow"
_BY_STATUS = {
    400: "invalid",
    401: "unauthorized",
    404: "not_found",
    405: "not_found",
    408: "body_timeout",
    413: "too_large",
    429: "queue_full",
    499: CLIENT_LEFT,
    503: "unavailable",
}


class Accounting:
    """Every generation request ends in exactly one outcome: received == open + the sum of the outcomes."""

    def __init__(self) -> None:
        self.num_received = 0
        self.outcomes: Counter[tuple[str, str]] = Counter()  # (protocol, outcome)

    @property
    def num_open(self) -> int:
        """Requests that have not ended."""
        return self.num_received - self.outcomes.total()

    def refused(self, protocol: str, status: int) -> None:
        """A request was answered with an error status."""
        self.outcomes[protocol, _BY_STATUS.get(status, FAILED)] += 1

    def ended(self, protocol: str, outcome: str) -> None:
        """A request ended otherwise."""
        self.outcomes[protocol, outcome] += 1

    def to_json(self) -> dict[str, object]:
        """For /stats."""
        by_protocol: dict[str, dict[str, int]] = {}
        for (protocol, outcome), count in sorted(self.outcomes.items()):
            by_protocol.setdefault(protocol, {})[outcome] = count
        return {"received": self.num_received, "open": self.num_open, "outcomes": by_protocol}
