"""The contest's client as a command, against the timed server."""

import json
from pathlib import Path

import pytest

from harness import judge, records
from tests.support.load import TTFT_MS, OddServer, Reference, reply

pytestmark = pytest.mark.process


@pytest.fixture
def data(tmp_path: Path) -> list[str]:
    rows = [{"instruction": f"Do {i}", "input": "this" if i % 2 else "", "output": "x"} for i in range(8)]
    (tmp_path / "alpaca.json").write_text(json.dumps(rows))
    (tmp_path / "lengths.csv").write_text("index,output_tokens\n" + "".join(f"{i},{i + 1}\n" for i in range(8)))
    return ["--data", str(tmp_path / "alpaca.json"), "--lengths", str(tmp_path / "lengths.csv"), "--any-size"]


def test_writes_the_contest_s_file_and_an_account(
    tmp_path: Path, data: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    server = Reference(tmp_path / "log")
    port = server.url.rpartition(":")[2]
    status = judge.main(["--task", "1", "-X", "5", "-T", "2", "-P", port, "-O", str(tmp_path / "out"), *data])
    server.close()
    assert status == 0
    rows = json.loads((tmp_path / "out" / "result_5.0_x.json").read_text())
    assert len(rows) == 10
    assert set(rows[0]) == {"input", "resp_text", "res_time", "first_token_time"}
    by_input = {row["input"]: row for row in rows}
    assert by_input["Do 2"]["resp_text"] == " 0 1 2"
    assert by_input["Do 3:this"]["resp_text"] == " 0 1 2 3"
    assert all(TTFT_MS / 1e3 <= row["first_token_time"] <= row["res_time"] for row in rows)
    account = json.loads((tmp_path / "out" / "account_5.0_x.json").read_text())
    assert account["requests_finished"] == account["requests_total"] == 10
    # Ten pauses of about 0.2 s, the last one after the last request.
    assert account["exec_time_s"] >= account["arrival_floor_s"] == pytest.approx(2, abs=0.3)
    assert len(records.read(tmp_path / "out" / "records_5.0_x.parquet")[0]) == 10
    out = capsys.readouterr().out
    assert "Requests: 10 = 10 finished, 0 rejected, 0 failed" in out
    assert f"Exec Time: {account['exec_time_s']:.2f} s" in out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "account_5.0_x.json",
        "records_5.0_x.parquet",
        "result_5.0_x.json",
    ]


def test_failures_are_accounted_for_but_not_results(tmp_path: Path, data: list[str]) -> None:
    def answer(connection, _: int) -> None:
        while connection.recv(65536):
            connection.sendall(reply("500 Internal Server Error", b"out of memory"))

    port = OddServer(answer).url.rpartition(":")[2]
    assert judge.main(["-X", "20", "-T", "1", "-P", port, "-O", str(tmp_path / "out"), *data]) == 1
    assert json.loads((tmp_path / "out" / "result_20.0_x.json").read_text()) == []
    assert json.loads((tmp_path / "out" / "account_20.0_x.json").read_text())["requests_failed"] == 20


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-X", "1", "-T", "10"], "-X 1.0 -T 10: gives 10 requests; task 1: X * T must be 1500"),
        (["--task", "2", "-X", "1", "-T", "500"], "X must be 0.1 and T 5000"),
        (["-X", "0", "-T", "10"], "workload.arrivals.rate=0.0"),
        (["-X", "1", "-T", "1", "--any-size", "--data", "x.json"], "--tokenizer or --lengths"),
        (["--task", "2", "-X", "0.1", "-T", "5000"], "--tokenizer or --lengths"),
        (["-X", "0.5", "-T", "3000"], "--data alpaca_5010.json: no such file"),
        (["-X", "1", "-T", "1", "--any-size", "--data", "no.jsonl"], "--data no.jsonl: no such file"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert judge.main(arguments) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
