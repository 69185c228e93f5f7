"""What the fakes and the arithmetic model must answer, computed by hand: a wrong answer is no measurement."""

from __future__ import annotations

from serving.agent.arithmetic import EOS_ID
from serving.bench.judge_stream import BadAnswer
from serving.config import Fake
from serving.fake import fake_token


def prompts(count: int) -> list[str]:
    """Different prompts of 21 tokens each in the byte tokenizer, the mean of the contest's speed task."""
    return [f"a plumb line, no. {number:03d}" for number in range(count)]


def expected_ids(prompt: str, max_new_tokens: int, fake: Fake) -> list[int]:
    """The answer to an ASCII prompt with the byte tokenizer, EOS ignored."""
    ids = list(prompt.encode())
    if fake in (Fake.frontend, Fake.worker, Fake.agent):
        return [fake_token(len(ids) + index) for index in range(max_new_tokens)]
    total = sum((index + 1) * token for index, token in enumerate(ids))
    for length in range(len(ids), len(ids) + max_new_tokens):
        ids.append(EOS_ID if total % 4099 == 0 else total % 256)
        total += (length + 1) * ids[-1]
    return ids[-max_new_tokens:]


def check(asked: list[str], max_new_tokens: int, fake: Fake, token_ids: list[list[int]]) -> None:
    """Raise BadAnswer unless every stream got its tokens."""
    for prompt, got in zip(asked, token_ids, strict=True):
        if got != expected_ids(prompt, max_new_tokens, fake):
            raise BadAnswer(f"serving.fake={fake}: wrong tokens for {prompt!r}: {got[:8]}…")
