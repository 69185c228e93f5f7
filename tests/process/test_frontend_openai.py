"""OpenAI's endpoints through OpenAI's own client, against the real server with the arithmetic model."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from tests.support.stack import MODEL, RunningStack, expected_text, expected_tokens, running_stack

pytestmark = pytest.mark.process
PROMPT = "A plumb line"
CHAT = "user: Is it upright?\nassistant: "


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    with running_stack(tmp_path_factory.mktemp("openai"), "serving.http.api_key=a key") as stack:
        yield stack


@pytest.fixture(scope="module")
def client(stack: RunningStack) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{stack.url}/v1", api_key="a key", max_retries=0) as client:
        yield client


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).owned_by == "plumbline"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("another")


def test_a_completion(client: openai.OpenAI) -> None:
    answer = client.completions.create(model=MODEL, prompt=PROMPT, max_tokens=12, temperature=0)
    assert answer.choices[0].text == expected_text(PROMPT, 12)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (12, 12, 24)


def test_a_streamed_completion_with_usage_and_token_ids(client: openai.OpenAI) -> None:
    chunks = list(
        client.completions.create(
            model=MODEL,
            prompt=list(PROMPT.encode()),
            max_tokens=12,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
            extra_body={"return_token_ids": True, "plumbline": {"timings": True}},
        )
    )
    *pieces, usage = chunks
    assert "".join(chunk.choices[0].text for chunk in pieces) == expected_text(PROMPT, 12)
    ids = [token for chunk in pieces for token in chunk.choices[0].to_dict()["token_ids"]]  # type: ignore[attr-defined]
    assert ids == expected_tokens(list(PROMPT.encode()), 12)
    assert [chunk.choices[0].finish_reason for chunk in pieces] == [None] * (len(pieces) - 1) + ["length"]
    assert usage.choices == []
    assert usage.usage is not None
    assert usage.usage.completion_tokens == 12
    assert all(chunk.usage is None for chunk in pieces)
    assert set(pieces[-1].to_dict()["plumbline"]) == {"queue_ms", "prefill_ms", "decode_ms"}  # type: ignore[arg-type]


def test_a_chat_uses_the_template_and_ends_at_eos(client: openai.OpenAI) -> None:
    messages = [{"role": "user", "content": [{"type": "text", "text": "Is it upright?"}]}]
    answer = client.chat.completions.create(model=MODEL, messages=messages, max_completion_tokens=9, temperature=0)  # type: ignore[arg-type]
    assert answer.choices[0].message.content == expected_text(CHAT, 9)
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == len(CHAT)


def test_a_streamed_chat(client: openai.OpenAI) -> None:
    messages = [{"role": "user", "content": "Is it upright?"}]
    chunks = list(
        client.chat.completions.create(model=MODEL, messages=messages, max_tokens=9, temperature=0, stream=True)  # type: ignore[call-overload]
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content for chunk in chunks) == expected_text(CHAT, 9)
    assert chunks[-1].choices[0].finish_reason == "length"


def test_an_answer_that_ends_at_eos(client: openai.OpenAI) -> None:
    prompt = [30] * 16
    prompt[15] += 1
    prompt[2] += 1
    assert sum((i + 1) * token for i, token in enumerate(prompt)) == 4099  # which the model answers with EOS
    answer = client.completions.create(model=MODEL, prompt=prompt, max_tokens=9, temperature=0)
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("", "stop")
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 1
    ignoring = client.completions.create(
        model=MODEL, prompt=prompt, max_tokens=3, temperature=0, extra_body={"ignore_eos": True}
    )
    assert ignoring.choices[0].finish_reason == "length"


@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_string_ends_the_text_before_it(client: openai.OpenAI, stream: bool) -> None:
    whole = expected_text(PROMPT, 40)
    stop = whole[5:7]
    assert whole.find(stop) == 5
    answer = client.completions.create(
        model=MODEL, prompt=PROMPT, max_tokens=40, temperature=0, stop=[stop], stream=stream
    )
    choices = [chunk.choices[0] for chunk in answer] if stream else answer.choices  # type: ignore[union-attr]
    assert "".join(choice.text for choice in choices) == whole[:5]
    assert choices[-1].finish_reason == "stop"


def test_logprobs_in_both_shapes(client: openai.OpenAI) -> None:
    answer = client.completions.create(model=MODEL, prompt=PROMPT, max_tokens=3, temperature=0, logprobs=2)
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.token_logprobs is not None
    assert len(logprobs.token_logprobs) == 3
    # logits fall by 1 per id on either side: the winner's probability is about tanh(1/2)
    assert logprobs.token_logprobs[0] == pytest.approx(-0.7719, abs=0.01)
    chat = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "Is it upright?"}],
        max_tokens=2,
        temperature=0,
        logprobs=True,
        top_logprobs=3,
    )
    chat_logprobs = chat.choices[0].logprobs
    assert chat_logprobs is not None
    assert chat_logprobs.content is not None
    first = chat_logprobs.content[0]
    assert first.bytes == expected_tokens(list(CHAT.encode()), 1)
    assert [top.logprob for top in first.top_logprobs] == sorted((t.logprob for t in first.top_logprobs), reverse=True)
    assert first.top_logprobs[0].logprob == first.logprob


def test_a_seed_makes_sampling_repeatable(client: openai.OpenAI) -> None:
    def sampled(seed: int) -> str:
        answer = client.completions.create(model=MODEL, prompt=PROMPT, max_tokens=12, temperature=2.0, seed=seed)
        return answer.choices[0].text

    assert sampled(7) == sampled(7)
    assert len({sampled(seed) for seed in range(4)}) > 1


def test_errors_have_their_status_and_name_the_field(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        client.completions.create(model="another", prompt=PROMPT)
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as too_many:
        client.completions.create(model=MODEL, prompt=PROMPT, n=2)
    assert too_many.value.param == "n"
    with pytest.raises(openai.BadRequestError) as too_long:
        client.completions.create(model=MODEL, prompt=[1] * 1024, max_tokens=1)
    assert too_long.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError) as no_room:
        client.completions.create(model=MODEL, prompt=PROMPT, max_tokens=1024)
    assert no_room.value.param == "max_tokens"
    with pytest.raises(openai.BadRequestError) as no_token:
        client.completions.create(model=MODEL, prompt=[5, 259], max_tokens=1)
    assert (no_token.value.param, "259" in no_token.value.message) == ("prompt", True)


def test_a_wrong_key_is_refused(stack: RunningStack) -> None:
    with openai.OpenAI(base_url=f"{stack.url}/v1", api_key="wrong", max_retries=0) as stranger:
        with pytest.raises(openai.AuthenticationError):
            stranger.models.list()
        with pytest.raises(openai.AuthenticationError):
            stranger.completions.create(model=MODEL, prompt=PROMPT)
    assert stack.get("/readyz")["status"] == "ready"  # probes need no key


async def test_many_streams_at_once_get_each_their_own(stack: RunningStack) -> None:
    async with openai.AsyncOpenAI(base_url=f"{stack.url}/v1", api_key="a key", max_retries=0) as client:
        prompts = [f"wall {i}" for i in range(20)]
        streams = [
            await client.completions.create(model=MODEL, prompt=prompt, max_tokens=20, temperature=0, stream=True)
            for prompt in prompts
        ]
        texts = ["".join([chunk.choices[0].text async for chunk in stream]) for stream in streams]
    assert texts == [expected_text(prompt, 20) for prompt in prompts]
