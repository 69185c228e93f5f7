"""Would both sides have written the same text? From the tokens that each chose itself; it touches no logits.

A side's choice after a token counts only while both have read the same tokens before. Up to the first difference that
is what the side writes running freely, whether its own choices were fed back or, with teacher forcing, others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.accuracy.capture import Capture
from harness.accuracy.plan import common_prefix


@dataclass
class TextMatch:
    """Over the requests in both folders whose choices both know."""

    num_requests: int = 0
    num_requests_equal: int = 0
    num_tokens: int = 0  # chosen after the same tokens by both
    num_tokens_equal: int = 0
    first_divergent: tuple[str, int] | None = None  # prompt id and position of the token after which they part

    @property
    def request_rate(self) -> float | None:
        """Share of requests with the same text."""
        return self.num_requests_equal / self.num_requests if self.num_requests else None

    @property
    def token_rate(self) -> float | None:
        """Share of equal choices among those made after the same tokens."""
        return self.num_tokens_equal / self.num_tokens if self.num_tokens else None


def match_texts(base: Mapping[str, Capture], new: Mapping[str, Capture]) -> TextMatch:
    """Compare all choices, by prompt id."""
    found = TextMatch()
    for name in sorted(base.keys() & new.keys()):
        ours, theirs = new[name].chosen_ids, base[name].chosen_ids
        if ours is None or theirs is None:
            continue
        num_prompt = len(new[name].prompt_ids)
        shared = common_prefix(base[name].token_ids, new[name].token_ids)
        pairs = list(zip(theirs, ours, strict=False))[: max(0, shared - num_prompt + 1)]
        equal = [one == other for one, other in pairs]
        whole = base[name].prompt_ids == new[name].prompt_ids and ours == theirs
        found.num_requests += 1
        found.num_requests_equal += whole
        found.num_tokens += len(equal)
        found.num_tokens_equal += sum(equal)
        if not all(equal) and found.first_divergent is None:
            found.first_divergent = name, num_prompt - 1 + equal.index(False)
    return found
