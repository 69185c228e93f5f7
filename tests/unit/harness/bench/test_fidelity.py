"""The errors of a client, worked out from a log and a report whose differences are known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness.bench import account, fidelity, tokenizer
from harness.bench.account import Account, Fidelity, Reported
from harness.bench.case import Case, by_streams, cases
from harness.bench.fidelity import OURS, Measured
from harness.bench.peers import Aiperf, Guidellm, PeerError, Vllm, find
from harness.bench.truth import TrueReply

MS = 1_000_000
CASE = Case("x", rate=100, count=50, num_tokens=4, ttft_ms=20, itl_ms=10)


def true_reply(index: int, late_ms: float = 0.0) -> TrueReply:
    received = 10**9 + round((index * 10 + late_ms) * MS)
    return TrueReply(f"r-{index}", received, received + np.asarray([20, 30, 40, 50]) * MS)


TRUTH = [true_reply(i) for i in range(50)]


def told(index: int, ttft_ms: float = 20.0, itls_ms: tuple[float, ...] = (10, 10, 10), name: str = "") -> Reported:
    return Reported(index, ttft_ms, np.asarray(itls_ms, dtype=float), name)


def test_a_true_report_has_no_error() -> None:
    found = account.fidelity(CASE, Account([told(i, name=f"r-{i}") for i in range(50)]), TRUTH)
    assert (found.ttft_error_ms_p99, found.itl_error_ms_p99, found.lost, found.itl_is_mean) == (0, 0, 0, False)
    assert found.arrival_error_ms_max == pytest.approx(0, abs=1e-6)
    assert found.rate_error == pytest.approx(0, abs=1e-9)
    assert found.events_per_s == pytest.approx(400, rel=0.03)


def test_each_error_is_found() -> None:
    late = [true_reply(i, late_ms=7 if i == 49 else 0) for i in range(50)]
    reports = [told(i, ttft_ms=21 if i % 2 else 20, itls_ms=(10, 13, 7), name=f"r-{i}") for i in range(48)]
    found = account.fidelity(CASE, Account(reports), late)
    assert found.arrival_error_ms_max == pytest.approx(7)
    assert found.arrival_error_ms_p50 == pytest.approx(0, abs=1e-6)
    assert found.rate_error == pytest.approx(490 / 497 - 1)
    assert (found.ttft_error_ms_p99, found.itl_error_ms_p99) == (pytest.approx(1), pytest.approx(3))
    assert found.lost == 2


def test_without_ids_the_order_of_sending_counts_and_probes_are_left_out() -> None:
    probe = TrueReply("probe", 0, np.asarray([1, 2, 3, 4]) * MS)
    reports = [told(i, ttft_ms=20) for i in reversed(range(50))]
    found = account.fidelity(CASE, Account(reports), [probe, *TRUTH])
    assert (found.ttft_error_ms_p99, found.lost) == (0, 0)


def test_a_mean_is_compared_with_the_mean_and_marked() -> None:
    found = account.fidelity(CASE, Account([told(i, itls_ms=(10.5,)) for i in range(50)]), TRUTH)
    assert found.itl_is_mean
    assert found.itl_error_ms_p99 == pytest.approx(0.5)


def test_nothing_reported_is_no_result() -> None:
    with pytest.raises(ValueError, match="0 requests reported, 50 in the server's log"):
        account.fidelity(CASE, Account([]), TRUTH)


def test_streams_are_as_many_as_the_name_says() -> None:
    case = by_streams(256, duration_s=8, with_peers=False)
    lifetime_s = (case.ttft_ms + (case.num_tokens - 1) * case.itl_ms) / 1e3
    assert case.rate * lifetime_s == pytest.approx(256)
    assert {round(c.rate) for c in cases(8)} >= {10, 50, 200}


def measured(lost: int = 0, **changes: float) -> Measured:
    base = dict.fromkeys(Fidelity.__dataclass_fields__, 0.0) | {"itl_is_mean": False, "lost": lost}
    extra = {"send_error_ms_p99": 0.5, "says_saturated": 0.0}
    return Measured([Fidelity(**{**base, **changes})], [extra])  # type: ignore[arg-type]


def test_the_limit_is_the_last_rate_before_the_first_that_is_not_true() -> None:
    loads = [Case(str(n), n, 1, 16, 50, 10) for n in (1, 2, 3)]
    table = {
        "1": {OURS: measured(events_per_s=100, ttft_error_ms_p99=1), "peer": measured(ttft_error_ms_p99=0.5)},
        "2": {OURS: measured(events_per_s=200, itl_error_ms_p99=3)},
        "3": {OURS: measured(events_per_s=300)},
    }
    row = fidelity.summary(loads, table)
    assert row["max_events_per_s_within_2ms"] == 100
    assert row["itl_error_ms_p99"] == 3
    assert row["saturation_told"] is False
    assert row["worse_than_a_peer"] == ["1: ttft_error_ms_p99 1.000, peer 0.500"]
    assert row["peers"] == {"peer": {"1": fidelity._figures(table["1"]["peer"])}}
    lossy = {"1": {OURS: measured(lost=1, events_per_s=100)}}
    assert fidelity.summary(loads[:1], lossy)["max_events_per_s_within_2ms"] == 0


def test_peers_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "aiperf").mkdir()
    metrics = {"time_to_first_token": {"value": 51.0}, "inter_chunk_latency": {"value": [9.0, 11.0]}}
    lines = [{"metadata": {"request_start_ns": 5}, "metrics": metrics}, {"metadata": {}, "error": {"code": 500}}]
    (tmp_path / "aiperf" / "profile_export.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (one,) = Aiperf("x").read(tmp_path)
    assert (one.started, one.ttft_ms, one.itls_ms.tolist()) == (5, 51.0, [9.0, 11.0])
    row = {"request_start_time": 7.5, "time_to_first_token_ms": 52.0, "inter_token_latency_ms": 10.5}
    (tmp_path / "guidellm.json").write_text(json.dumps({"benchmarks": [{"requests": {"successful": [row]}}]}))
    (one,) = Guidellm("x").read(tmp_path)
    assert (one.started, one.ttft_ms, one.itls_ms.tolist()) == (7.5, 52.0, [10.5])
    columns = {"start_times": [1.0, 2.0], "ttfts": [0.05, 0.0], "itls": [[0.01], []], "errors": ["", "refused"]}
    (tmp_path / "vllm.json").write_text(json.dumps(columns))
    (one,) = Vllm("x").read(tmp_path)
    assert (one.ttft_ms, one.itls_ms.tolist()) == (50.0, [10.0])


def test_a_peer_is_found_by_option_then_variable_and_a_wrong_name_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(Vllm.variable, raising=False)
    assert find(Vllm, None) is None
    monkeypatch.setenv(Vllm.variable, "/bin/sh")
    assert find(Vllm, None).executable == "/bin/sh"  # type: ignore[union-attr]
    with pytest.raises(PeerError, match="vllm: /no/such is no executable"):
        find(Vllm, "/no/such")


def test_tokenizer_folder_round_trips(tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    loaded = Tokenizer.from_file(str(tokenizer.write(tmp_path) / "tokenizer.json"))
    assert loaded.decode(loaded.encode("Grüße, world").ids) == "Grüße, world"
