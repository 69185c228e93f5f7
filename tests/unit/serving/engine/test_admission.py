"""Requests that cannot be served are refused by field, with what is allowed."""

from __future__ import annotations

import pytest

from serving.engine.admission import check_request
from serving.engine.request import Capture, GenerationRequest, InvalidRequest, SamplingParams


def request(prompt_ids=(1, 2, 3), forced_ids=None, capture=None, max_new_tokens=5, **sampling) -> GenerationRequest:
    return GenerationRequest(
        "r", list(prompt_ids), SamplingParams(max_new_tokens, **sampling), capture=capture, forced_ids=forced_ids
    )


def test_the_largest_request_is_admitted():
    check_request(request([0] * 10 + [258], max_new_tokens=53, temperature=2.0, top_k=5, top_p=0.1), 64, 259, True)


@pytest.mark.parametrize(
    ("bad", "field", "text"),
    [
        (request([]), "prompt_ids", "no tokens"),
        (request([1] * 64), "prompt_ids", r"64 tokens, at most 63 are allowed \(model.seq_length - 1\)"),
        (request([1, 259]), "prompt_ids", "token id 259 is not in the vocabulary: 0 to 258"),
        (request([-1]), "prompt_ids", "token id -1"),
        (request(max_new_tokens=0), "max_new_tokens", "1 to 61 are allowed"),
        (request(max_new_tokens=62), "max_new_tokens", "1 to 61 are allowed"),
        (request(forced_ids=[300]), "forced_ids", "token id 300"),
        (request(temperature=-0.1), "temperature", "0 .greedy. to 100"),
        (request(temperature=float("nan")), "temperature", "nan is out of range"),
        (request(top_k=-1), "top_k", "-1 is negative"),
        (request(top_p=0), "top_p", "at most 1"),
        (request(top_p=1.01), "top_p", "at most 1"),
        (request(repetition_penalty=0), "repetition_penalty", "0.01 to 100"),
        (request(top_logprobs=21), "top_logprobs", "0 to 20"),
        (request(capture=Capture("a/b")), "capture.prompt_id", "'a/b' cannot name a file"),
        (request(capture=Capture("a", every=-1)), "capture.every", "-1 is negative"),
    ],
)
def test_each_field_is_named(bad, field, text):
    with pytest.raises(InvalidRequest, match=text) as caught:
        check_request(bad, 64, 259, True)
    assert caught.value.field == field


def test_no_capture_behind_a_fake_without_logits():
    with pytest.raises(InvalidRequest, match=r"serving\.fake"):
        check_request(request(capture=Capture("a")), 64, 259, False)
