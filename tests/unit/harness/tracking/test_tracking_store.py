import http.server
import sqlite3
import threading
import time

import pytest

from harness.config import TrackingConfig
from harness.tracking import TrackingUnavailable, open_tracker
from harness.tracking.store import check, default_uri, redacted, ui_command

EXPERIMENT = b'{"experiment": {"experiment_id": "0", "name": "Default"}}'


@pytest.fixture
def answer():
    """Start a web server that gives every GET the same (status, body), or 401 without `authorization`; its port."""
    servers = []

    def start(status, body, authorization=None):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                allowed = authorization in (None, self.headers["Authorization"])
                self.send_response(status if allowed else 401)
                self.end_headers()
                self.wfile.write(body if allowed else b"You are not authenticated.")

            def log_message(self, *_):
                """Quiet."""

        server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        servers.append(server)
        return server.server_port

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
    assert "is no MLflow server" in refused(f"http://127.0.0.1:{answer(200, b'<html>')}", tmp_path)
    assert "HTTP 502" in refused(f"http://127.0.0.1:{answer(502, b'bad gateway')}", tmp_path)
    assert "allowed are" in refused("ftp://somewhere", tmp_path)
    assert "allowed are" in refused("mlruns", tmp_path)
    (tmp_path / "note.txt").write_text("no database, but long enough to look at: " * 100)
    assert "file is not a database" in refused(f"sqlite:///{tmp_path}/note.txt", tmp_path)
    assert "cannot be reached" in refused(f"sqlite:///{tmp_path}/note.txt/mlflow.db", tmp_path)
    assert "needs the Python package nosuchdriver" in refused("postgresql+nosuchdriver://host/db", tmp_path)
    assert time.monotonic() - begin < 5


def test_a_server_is_known_by_its_answer(tmp_path, answer):
    port = answer(200, EXPERIMENT)
    tracker = open_tracker(TrackingConfig(uri=f"http://me:secret@127.0.0.1:{port}/"), tmp_path)
    assert tracker.ui_command == f"http://me:***@127.0.0.1:{port}/"
    deleted = answer(404, b'{"error_code": "RESOURCE_DOES_NOT_EXIST"}')
    open_tracker(TrackingConfig(uri=f"http://127.0.0.1:{deleted}"), tmp_path)


@pytest.mark.parametrize("where", ["uri", "environment", "file", "token"])
def test_credentials_are_those_that_mlflow_itself_would_use(tmp_path, answer, monkeypatch, where):
    for name in ("USERNAME", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    port = answer(200, EXPERIMENT, "Bearer abc" if where == "token" else "Basic bWU6c2VjcmV0")
    uri = f"http://127.0.0.1:{port}"
    assert "HTTP 401" in refused(uri, tmp_path)
    if where == "uri":
        assert "HTTP 401" in refused(f"http://me:wrong@127.0.0.1:{port}", tmp_path)
        uri = f"http://me:secret@127.0.0.1:{port}"
    elif where == "environment":
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    elif where == "file":
        (tmp_path / ".mlflow").mkdir()
        (tmp_path / ".mlflow" / "credentials").write_text(
            "[mlflow]\nmlflow_tracking_username = me\nmlflow_tracking_password = secret\n"
        )
    else:
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "abc")
    open_tracker(TrackingConfig(uri=uri), tmp_path)


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
