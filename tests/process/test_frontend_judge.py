"""The contest protocol against the real server, read the way its official client reads it: with `requests`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from tests.support.stack import RunningStack, expected_text, expected_tokens, running_stack

pytestmark = pytest.mark.process
PROMPT = "Hang the line:then wait"
JUDGED = {"do_sample": "False", "return_full_text": "True"}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    with running_stack(tmp_path_factory.mktemp("judge")) as stack:
        yield stack


def judge(stack: RunningStack, count: int, **parameters: Any) -> list[dict[str, Any]]:
    """The official client's steps: data= with a JSON string, Connection: close, iter_lines, data[0] of every line."""
    body = json.dumps({"inputs": PROMPT, "parameters": {"max_new_tokens": count, **JUDGED, **parameters}})
    headers = {"Content-Type": "application/json", "Connection": "close"}
    url = f"{stack.url}/models/llama2/generate_stream"
    with requests.request("POST", url, data=body, headers=headers, stream=True, timeout=20) as answer:
        assert answer.status_code == 200
        return [json.loads(line)["data"][0] for line in answer.iter_lines(decode_unicode=True) if line]


def post(stack: RunningStack, path: str, **body: Any) -> requests.Response:
    return requests.post(stack.url + path, json=body, timeout=20)


def test_the_official_client_gets_a_line_per_token_and_the_whole_text_last(stack: RunningStack) -> None:
    data = judge(stack, 40)
    assert [item["tokens"]["id"] for item in data[:-1]] == expected_tokens(list(PROMPT.encode()), 40)
    assert data[-1]["generated_text"] == expected_text(PROMPT, 40)
    assert "".join(item["generated_text"] for item in data[:-1]) == expected_text(PROMPT, 40)
    assert (data[-1]["finish_reason"], data[-1]["generated_tokens"]) == ("length", 40)
    assert data[0]["tokens"]["logprob"] <= 0


def test_the_whole_answer_at_once(stack: RunningStack) -> None:
    answer = post(stack, "/models/llama2/generate", inputs=PROMPT, parameters={"max_new_tokens": 9, **JUDGED})
    assert answer.json()["generated_text"] == expected_text(PROMPT, 9)
    assert answer.headers["X-Request-Id"].startswith("judge-")


def test_the_plain_path_asks_the_body(stack: RunningStack) -> None:
    parameters = {"max_new_tokens": 3, **JUDGED}
    streamed = post(stack, "/models/llama2", inputs=PROMPT, parameters=parameters, stream="True")
    whole = post(stack, "/models/llama2", inputs=PROMPT, parameters=parameters)
    assert len(streamed.text.splitlines()) == 4
    assert streamed.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert whole.json()["generated_tokens"] == 3


def test_the_default_length_is_cut_to_what_the_context_leaves(stack: RunningStack) -> None:
    answer = post(stack, "/models/llama2/generate", inputs=[32] * 1000, parameters={"do_sample": "False"})
    assert answer.json()["generated_tokens"] == 24


def test_a_stop_string(stack: RunningStack) -> None:
    stop = expected_text(PROMPT, 40)[6:8]
    data = judge(stack, 40, stop=[stop])
    assert data[-1]["generated_text"] == expected_text(PROMPT, 40)[:6]
    assert data[-1]["finish_reason"] == "stop"


def test_logits_rows_are_on_disk_when_the_answer_ends(stack: RunningStack) -> None:
    data = judge(stack, 6, plumbline={"prompt_id": "one", "every": 2, "timings": True})
    num_prompt = len(PROMPT.encode())
    captured: Path = stack.run_dir / "captures"
    described = json.loads((captured / "one.json").read_text())
    rows = np.load(captured / "one.npy")
    expected = [num_prompt - 1, *(p for p in range(num_prompt, num_prompt + 5) if p % 2 == 0)]
    assert described["positions"] == expected
    assert rows[:, :].argmax(axis=1).tolist() == [data[p - num_prompt + 1]["tokens"]["id"] for p in expected]
    assert data[-1]["plumbline"]["prefill_ms"] > 0


def test_forced_ids_are_appended_instead_of_the_model_s_choice(stack: RunningStack) -> None:
    data = judge(stack, 3, plumbline={"prompt_id": "forced", "every": 1, "forced_ids": [65, 66, 67]})
    assert [item["tokens"]["id"] for item in data[:-1]] == [65, 66, 67]
    assert data[-1]["generated_text"] == "ABC"


def test_what_the_server_says_of_itself(stack: RunningStack) -> None:
    assert stack.get("/healthz") == {"status": "live"}
    assert stack.get("/readyz") == {"status": "ready", "detail": ""}
    assert stack.get("/serving/get_bs") == {"event": "message", "retry": 30000, "data": 0}
    assert stack.get("/serving/get_request_numbers")["data"] == 0
    info = stack.get("/serving/get_serverd_model_info")
    assert (info["max_input_length"], info["model_device_type"]) == (1024, "CPU")


def test_the_accounts_agree(stack: RunningStack) -> None:
    before = stack.get("/stats")
    judge(stack, 5)
    assert post(stack, "/models/llama2/generate", inputs=5).status_code == 400
    after = stack.get("/stats")
    assert after["http"]["received"] == before["http"]["received"] + 2
    assert after["http"]["open"] == 0
    gained = {name: after["http"]["outcomes"]["judge"][name] - before["http"]["outcomes"]["judge"].get(name, 0)
              for name in ("finished", "invalid")}  # fmt: skip
    assert gained == {"finished": 1, "invalid": 1}
    assert after["engine"]["requests"]["output_tokens"] == before["engine"]["requests"]["output_tokens"] + 5
    page = requests.get(f"{stack.url}/metrics", timeout=5).text
    finished = after["http"]["outcomes"]["judge"]["finished"]
    assert f'plumbline_http_requests_total{{outcome="finished",protocol="judge"}} {finished}.0' in page
    assert 'plumbline_kv_blocks_used{device="0"} 0.0' in page
    assert 'plumbline_step_seconds_bucket{device="0",kind="decode",le="+Inf"}' in page


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/models/llama3/generate", 404),
        ("POST", "/models/llama2/other", 404),
        ("GET", "/nothing", 404),
        ("GET", "/models/llama2/generate", 405),
        ("POST", "/stats", 405),
    ],
)
def test_wrong_paths_and_methods(stack: RunningStack, method: str, path: str, status: int) -> None:
    answer = requests.request(method, stack.url + path, json={}, timeout=5)
    assert answer.status_code == status
    assert answer.json()


def test_the_quirks_of_the_fork_and_of_the_original(tmp_path: Path) -> None:
    quirks = ["serving.http.judge_data_as_dict=true", "serving.http.judge_drop_last_text=true", "serving.fake=frontend"]
    with running_stack(tmp_path, *quirks, num_agents=0) as stack:
        body = {"inputs": "abc", "parameters": {"max_new_tokens": 3, **JUDGED}}
        answer = requests.post(f"{stack.url}/models/llama2/generate_stream", json=body, timeout=5)
    data = [json.loads(line)["data"] for line in answer.text.splitlines()]
    # serving.fake: the token after a context of n tokens is 32 + n % 95
    assert [item["tokens"]["id"] for item in data[:-1]] == [35, 36, 37]
    assert [item["generated_text"] for item in data] == ["#", "$", "", "#$"]
