"""Downloads against a real HTTP server on this machine: whole, resumed after a cut, refused, without network."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from serving.weights import fetch
from serving.weights import transfer as transfers
from serving.weights.errors import ModelError
from serving.weights.fetch import obtain
from serving.weights.sources import REMOTE_FILES, RemoteFile
from serving.weights.transfer import transfer

BODY = bytes(range(256)) * 8000  # 2 MB
SHA256 = hashlib.sha256(BODY).hexdigest()


class Origin(ThreadingHTTPServer):
    """Serves BODY with ranges; `cut_after` bytes of each of the next `num_cuts` replies the connection is dropped."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.body, self.etag, self.cut_after, self.num_cuts = BODY, '"one"', 0, 0
        self.status, self.ranges = 200, True
        self.asked: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/model.ckpt"


class Handler(BaseHTTPRequestHandler):
    server: Origin

    def do_GET(self) -> None:
        origin, wanted = self.server, self.headers.get("Range")
        origin.asked.append(wanted)
        if origin.status != 200:
            self.send_error(origin.status)
            return
        start, body = 0, origin.body
        if wanted and origin.ranges and self.headers.get("If-Range") == origin.etag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start > len(body):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if origin.etag:
            self.send_header("ETag", origin.etag)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        rest = body[start:]
        if origin.num_cuts:
            origin.num_cuts -= 1
            rest = rest[: origin.cut_after]
        self.wfile.write(rest)

    def log_message(self, *_: object) -> None:
        """Silence."""


@pytest.fixture
def origin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Origin]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(transfers, "_BACKOFF_S", 0.0)
    server = Origin()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def get(origin: Origin, path: Path, num_bytes: int | None = len(BODY), sha256: str | None = SHA256) -> str:
    return transfer(origin.url, path, num_bytes, sha256, lambda done, total: None)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_whole_file_arrives_with_progress_and_nothing_beside_it(origin: Origin, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    digest = transfer(origin.url, tmp_path / "f", None, None, lambda done, total: seen.append((done, total)))
    assert digest == SHA256 and (tmp_path / "f").read_bytes() == BODY
    assert seen[0][0] < len(BODY) and (len(BODY), len(BODY)) in seen
    assert files(tmp_path) == ["f"]


def test_a_cut_connection_is_resumed_where_it_broke(origin: Origin, tmp_path: Path) -> None:
    origin.cut_after, origin.num_cuts = 700_000, 2
    assert get(origin, tmp_path / "f") == SHA256
    assert origin.asked == [None, f"bytes={10 << 16}-", f"bytes={20 << 16}-"]  # whole chunks


def test_a_later_call_goes_on_from_what_an_earlier_one_left(origin: Origin, tmp_path: Path) -> None:
    origin.cut_after, origin.num_cuts = 500_000, 1

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        transfer(origin.url, tmp_path / "f", len(BODY), SHA256, stop)
    assert files(tmp_path) == ["f.partial", "f.partial.version"]
    kept = (tmp_path / "f.partial").stat().st_size
    assert 0 < kept <= 500_000
    assert get(origin, tmp_path / "f") == SHA256
    assert origin.asked[-1] == f"bytes={kept}-" and files(tmp_path) == ["f"]


@pytest.mark.parametrize("change", ["version", "no ranges", "no version"])
def test_what_cannot_be_gone_on_with_starts_anew(change: str, origin: Origin, tmp_path: Path) -> None:
    if change == "no version":
        origin.etag = ""
    origin.cut_after, origin.num_cuts = 500_000, 1
    with pytest.raises(KeyboardInterrupt):
        transfer(origin.url, tmp_path / "f", None, None, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    if change == "version":
        origin.body, origin.etag = b"other" * 1000, '"two"'
    elif change == "no ranges":
        origin.ranges = False
    digest = transfer(origin.url, tmp_path / "f", None, None, lambda *_: None)
    assert (tmp_path / "f").read_bytes() == origin.body and digest == hashlib.sha256(origin.body).hexdigest()


def test_a_server_that_always_cuts_is_given_up_and_what_came_is_kept(origin: Origin, tmp_path: Path) -> None:
    origin.cut_after, origin.num_cuts = 0, 10**6
    with pytest.raises(ModelError, match=r"cannot be reached \([^\n]*Connection broken[^\n]*\); is there a"):
        get(origin, tmp_path / "f")
    origin.cut_after, origin.num_cuts = 70_000, 1
    with pytest.raises(KeyboardInterrupt):
        transfer(origin.url, tmp_path / "f", None, SHA256, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    origin.cut_after, origin.num_cuts = 0, 10**6
    with pytest.raises(ModelError, match=r"Connection broken[^\n]*; 0\.1 MB are kept, and the same command goes on"):
        get(origin, tmp_path / "f")
    origin.num_cuts = 0
    assert get(origin, tmp_path / "f") == SHA256


def test_a_server_that_names_no_version_and_cuts_is_given_up(origin: Origin, tmp_path: Path) -> None:
    origin.etag, origin.cut_after, origin.num_cuts = "", 500_000, 10**6
    with pytest.raises(ModelError, match="Connection broken"):
        get(origin, tmp_path / "f")
    assert origin.asked == [None, None]


def test_a_file_that_has_become_shorter_is_fetched_anew(origin: Origin, tmp_path: Path) -> None:
    (tmp_path / "f.partial").write_bytes(b"x" * (len(BODY) + 1))
    (tmp_path / "f.partial.version").write_text(origin.etag)
    assert get(origin, tmp_path / "f", None) == SHA256
    assert origin.asked == [f"bytes={len(BODY) + 1}-", None]


def test_a_wrong_sha256_is_named_and_the_file_removed(origin: Origin, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=rf"wrong sha256 {SHA256}, expected 0{{64}}; the file was removed"):
        get(origin, tmp_path / "f", sha256="0" * 64)
    assert files(tmp_path) == []


def test_another_size_is_noticed_before_a_byte_is_fetched(origin: Origin, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has 2,048,000 bytes, expected 7: it is another file"):
        get(origin, tmp_path / "f", num_bytes=7)
    assert not (tmp_path / "f").exists()


@pytest.mark.parametrize(("status", "num_asked"), [(404, 1), (403, 1), (503, 5)])
def test_an_http_error_is_one_line(status: int, num_asked: int, origin: Origin, tmp_path: Path) -> None:
    origin.status = status
    with pytest.raises(ModelError, match=rf"^http://127\.0\.0\.1:\d+/model\.ckpt: HTTP {status} [^\n]+$"):
        get(origin, tmp_path / "f")
    assert len(origin.asked) == num_asked  # only what may pass is tried again


def test_without_network_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as unused:  # bound, not listening: refused
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/x"
        with pytest.raises(ModelError, match=r"cannot be reached \([^\n]+\); is there a network"):
            transfer(url, tmp_path / "f", None, None, lambda *_: None)


def test_two_at_once_do_not_write_one_file(origin: Origin, tmp_path: Path) -> None:
    def meanwhile(done: int, total: int) -> None:
        with pytest.raises(ModelError, match="another process is fetching it"):
            get(origin, tmp_path / "f")

    assert transfer(origin.url, tmp_path / "f", None, SHA256, meanwhile) == SHA256


def test_an_unpublished_hash_is_recorded_said_to_be_so_and_held_to(origin: Origin, tmp_path: Path) -> None:
    source = RemoteFile(origin.url, "a model", "none")
    path, vouched = obtain(source, tmp_path, lambda *_: None)
    assert vouched == f"sha256 {SHA256} (recorded on first download, published nowhere)"
    assert json.loads((tmp_path / "model.ckpt.json").read_text())["sha256"] == SHA256
    assert obtain(source, tmp_path, lambda *_: None) == (path, vouched) and len(origin.asked) == 1  # it is there
    path.unlink()
    origin.body, origin.etag = b"other", '"two"'
    with pytest.raises(ModelError, match=rf"but {SHA256} was recorded; remove .*model\.ckpt\.json to accept it"):
        obtain(source, tmp_path, lambda *_: None)


def test_a_file_that_has_changed_on_disk_is_not_taken_for_the_published_one(origin: Origin, tmp_path: Path) -> None:
    source = RemoteFile(origin.url, "a model", "none", len(BODY), SHA256)
    path, vouched = obtain(source, tmp_path, lambda *_: None)
    assert vouched.endswith("(published)")
    path.write_bytes(b"broken")
    with pytest.raises(ModelError, match="remove it to fetch it anew"):
        obtain(source, tmp_path, lambda *_: None)


def test_the_command_lists_fetches_and_refuses(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(REMOTE_FILES, "small", RemoteFile(origin.url, "a model", "none", len(BODY), SHA256))
    monkeypatch.setenv("PLUMBLINE_CACHE_DIR", str(tmp_path))
    assert fetch.main([]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in ("smollm2-135m-instruct", "contest-checkpoint", "llama2-7b", "small"))
    assert fetch.main(["small"]) == 0
    assert (tmp_path / "downloads/small/model.ckpt").read_bytes() == BODY
    assert capsys.readouterr().out.endswith(f"sha256 {SHA256} (published)\n")
    assert fetch.main(["smal"]) == 2 and "smal: no such name; known: " in capsys.readouterr().err
    origin.status = 404
    assert fetch.main(["small", "--to", str(tmp_path / "b")]) == 1
    assert capsys.readouterr().err.startswith("error: http://127.0.0.1:")


@pytest.mark.parametrize("name", REMOTE_FILES)
def test_every_known_file_has_an_address_and_a_plausible_hash(name: str) -> None:
    source = REMOTE_FILES[name]
    assert source.url.startswith("https://") and source.file_name and source.what and source.license
    assert source.sha256 is None or (len(source.sha256) == 64 and int(source.sha256, 16))
