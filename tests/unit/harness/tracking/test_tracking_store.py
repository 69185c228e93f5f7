import http.server
import sqlite3
import threading
import time

import pytest

from harness.config import TrackingConfig
from harness.tracking import TrackingUnavailable, open_tracker
from harness.tracking.store import check, default_uri, redacted, ui_command


@pytest.fixture
def answer():
    """Start a web server that gives every GET the same (status, body); returns its URL and the headers it saw."""
    servers = []

    def start(status, body):
        seen = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                seen.append(self.headers)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                """Quiet."""

        server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        servers.append(server)
        return server.server_port, seen

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def refused(uri, outputs):
    with pytest.raises(TrackingUnavailable) as caught:
        open_tracker(TrackingConfig(uri=uri), outputs)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("tracking.uri=")
    return message


def test_the_default_is_a_file_in_outputs_made_later(tmp_path):
    tracker = open_tracker(TrackingConfig(), tmp_path / "outputs")
    assert tracker.uri == default_uri(tmp_path / "outputs") == f"sqlite:///{tmp_path}/outputs/mlflow.db"
    assert tracker.ui_command == "make ui"
    assert not (tmp_path / "outputs" / "mlflow.db").exists()


def test_tracking_can_be_off(tmp_path):
    assert open_tracker(TrackingConfig(enabled=False, uri="nonsense"), tmp_path) is None


def test_unreachable_stores_are_named_at_once(tmp_path, answer):
    begin = time.monotonic()
    assert "Connection refused" in refused("http://127.0.0.1:9", tmp_path)
    assert "is no MLflow server" in refused(f"http://127.0.0.1:{answer(200, b'<html>')[0]}", tmp_path)
    assert "HTTP 502" in refused(f"http://127.0.0.1:{answer(502, b'bad gateway')[0]}", tmp_path)
    assert "HTTP 401" in refused(f"http://127.0.0.1:{answer(401, b'error_code')[0]}", tmp_path)
    assert "allowed are" in refused("ftp://somewhere", tmp_path)
    assert "allowed are" in refused("mlruns", tmp_path)
    (tmp_path / "note.txt").write_text("no database, but long enough to look at: " * 100)
    assert "file is not a database" in refused(f"sqlite:///{tmp_path}/note.txt", tmp_path)
    assert "cannot be reached" in refused(f"sqlite:///{tmp_path}/note.txt/mlflow.db", tmp_path)
    assert "needs the Python package nosuchdriver" in refused("postgresql+nosuchdriver://host/db", tmp_path)
    assert time.monotonic() - begin < 5


def test_a_server_is_known_by_its_answer(tmp_path, answer, monkeypatch):
    port, seen = answer(200, b'{"experiment": {"experiment_id": "0"}}')
    tracker = open_tracker(TrackingConfig(uri=f"http://me:secret@127.0.0.1:{port}/"), tmp_path)
    assert seen[-1]["Authorization"] == "Basic bWU6c2VjcmV0"
    assert tracker.ui_command == f"http://me:***@127.0.0.1:{port}/"
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "abc")
    deleted, seen = answer(404, b'{"error_code": "RESOURCE_DOES_NOT_EXIST"}')
    open_tracker(TrackingConfig(uri=f"http://127.0.0.1:{deleted}"), tmp_path)
    assert seen[-1]["Authorization"] == "Bearer abc"


def test_passwords_stay_out_of_messages(tmp_path):
    assert redacted("postgresql://me:secret@host/db") == "postgresql://me:***@host/db"
    assert redacted("http://host:5000") == "http://host:5000"
    assert "secret" not in refused("http://me:secret@127.0.0.1:9", tmp_path)
    assert ui_command("sqlite:////other.db", tmp_path) == "mlflow ui --backend-store-uri sqlite:////other.db"


def test_an_existing_database_is_opened_and_left_alone(tmp_path):
    path = tmp_path / "mlflow.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (x)")
    connection.close()
    before = path.read_bytes()
    check(f"sqlite:///{path}")
    assert path.read_bytes() == before
