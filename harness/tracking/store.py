"""Where runs are tracked, and a quick check that it can be reached.

It imports MLflow, which takes seconds, only where a server wants credentials: MLflow alone knows where those are kept.
"""

from __future__ import annotations

import http.client
import importlib.util
import os
import socket
import sqlite3
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from harness.tracking import client as mlflow_client
from harness.tracking.errors import TrackingUnavailable

TIMEOUT_S = 5.0
PASSWORD_HIDDEN = ":***"
SQLITE = "sqlite:///"
DATABASES = {"postgresql": (5432, "psycopg"), "mysql": (3306, "pymysql")}  # default port and SQLAlchemy's driver
ALLOWED = f"'' (a file in outputs), {SQLITE}<file>, http(s)://<host>[:port], or a {', '.join(DATABASES)} URI"


def default_uri(outputs: Path) -> str:
    """The SQLite file used when no URI is configured."""
    return SQLITE + str(outputs.resolve() / "mlflow.db")


def redacted(uri: str) -> str:
    """The URI without its password, fit for a message."""
    parts = urlsplit(uri)
    if parts.password is None:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", f"{PASSWORD_HIDDEN}@", 1)))


def ui_command(uri: str, outputs: Path) -> str:
    """What to type, or where to look, to see the runs."""
    if uri == default_uri(outputs):
        return "make ui"
    return redacted(uri) if uri.startswith("http") else f"mlflow ui --backend-store-uri {redacted(uri)}"


def check(uri: str) -> None:
    """Raise TrackingUnavailable, naming the URI and what is wrong, unless the store can be reached right now."""
    scheme = urlsplit(uri).scheme.partition("+")[0]
    try:
        if uri.startswith(SQLITE):
            _check_sqlite(Path(uri.removeprefix(SQLITE)))
        elif scheme in ("http", "https"):
            _check_server(uri)
        elif scheme in DATABASES:
            _check_database(uri, *DATABASES[scheme])
        else:
            raise TrackingUnavailable(f"tracking.uri={redacted(uri)}: allowed are {ALLOWED}")
    except (OSError, ValueError, sqlite3.Error, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise TrackingUnavailable(f"tracking.uri={redacted(uri)}: cannot be reached ({reason})") from error


def _check_sqlite(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise PermissionError(13, "not writable")
    if path.exists():
        connection = sqlite3.connect(path, timeout=TIMEOUT_S)
        try:
            connection.execute("SELECT name FROM sqlite_master LIMIT 1").fetchall()
        finally:
            connection.close()


def _check_server(uri: str) -> None:
    """Ask for the default experiment, which every MLflow server has; another answer means it is something else."""
    parts = urlsplit(uri)
    address = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], path=parts.path.rstrip("/")))
    url = f"{address}/api/2.0/mlflow/experiments/get?experiment_id=0"
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as reply:
            body = reply.read(65536)
    except urllib.error.HTTPError as error:
        # The default experiment may have been deleted: MLflow says so in its own words.
        body = error.read(65536)
        if error.code in (401, 403) and _lets_mlflow_in(uri):
            return
        if error.code in (401, 403) or b"error_code" not in body:
            raise TrackingUnavailable(f"tracking.uri={redacted(uri)}: answers HTTP {error.code}") from error
    if b"experiment" not in body and b"error_code" not in body:
        raise TrackingUnavailable(f"tracking.uri={redacted(uri)}: answers, but is no MLflow server")


def _lets_mlflow_in(uri: str) -> bool:
    """Whether the server takes the credentials of the URI, of MLFLOW_TRACKING_… or of MLflow's own file."""
    try:
        mlflow_client.connect(uri).get_experiment_by_name("Default")
    except Exception as error:
        if not mlflow_client.is_store_error(error):
            raise
        return False
    return True


def _check_database(uri: str, default_port: int, default_driver: str) -> None:
    parts = urlsplit(uri)
    driver = parts.scheme.partition("+")[2] or default_driver
    if importlib.util.find_spec(driver) is None:
        raise TrackingUnavailable(f"tracking.uri={redacted(uri)}: needs the Python package {driver}")
    socket.create_connection((parts.hostname or "localhost", parts.port or default_port), timeout=TIMEOUT_S).close()
