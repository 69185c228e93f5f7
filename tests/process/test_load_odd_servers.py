"""The load generator against servers that misbehave: every request is accounted for, with its reason."""

import json
import socket
import threading
from pathlib import Path

import pytest

from harness.load import generator
from tests.support.load import END, OddServer, constant, outcomes, plan, reply

pytestmark = pytest.mark.process


def test_odd_replies_are_all_accounted_for(tmp_path: Path) -> None:
    """Rejected, refused with a reason, cut off, silent until the timeout, closed without a word, no HTTP at all."""

    def answer(connection: socket.socket, _: int) -> None:
        while data := connection.recv(65536):
            number = int(json.loads(data.split(b"\r\n\r\n")[1])["inputs"].split()[1])
            match number:
                case 0:
                    connection.sendall(reply("429 Too Many Requests", b"queue full", "Retry-After: 1\r\n"))
                case 1:
                    connection.sendall(reply("400 Bad Request", b'{"error": "inputs"}'))
                case 2:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab")
                    connection.close()
                    return
                case 3:
                    threading.Event().wait()
                case 4:
                    connection.close()
                    return
                case 5:
                    connection.sendall(b"\x00\x01 no HTTP\r\n\r\n")
                case _:
                    connection.sendall(reply("200 OK", END))

    run = generator.run(plan(OddServer(answer).url, constant(100, 8), timeout_s=0.5, connections_ahead=4), tmp_path)
    assert [(r.outcome.value, r.error_class) for r in run.records] == [
        ("rejected", "http_429"),
        ("failed", "http_400"),
        ("failed", "connection"),
        ("timed_out", "timeout"),
        ("failed", "connection"),
        ("failed", "not_http"),
        ("finished", ""),
        ("finished", ""),
    ]
    timed_out = run.records[3]
    assert timed_out.ended_ns is not None and timed_out.scheduled_ns is not None
    assert (timed_out.ended_ns - timed_out.scheduled_ns) / 1e9 == pytest.approx(0.5, abs=0.2)


def test_a_connection_the_server_closed_while_idle_costs_nothing(tmp_path: Path) -> None:
    """Keep-alive limits: the server closes after each reply and also idle connections after 50 ms."""

    def answer(connection: socket.socket, _: int) -> None:
        connection.settimeout(0.05)
        try:
            if connection.recv(65536):
                connection.sendall(reply("200 OK", END))
        except TimeoutError:
            pass
        connection.close()

    run = generator.run(plan(OddServer(answer).url, constant(4, 6), connections_ahead=2), tmp_path)
    assert outcomes(run) == {"finished": 6}


def test_nothing_listens(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(generator.LoadError, match=r"http://127\.0\.0\.1:\d+: .*refused"):
        generator.run(plan(url, constant(10, 2)), tmp_path)
