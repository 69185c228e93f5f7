"""The library of kernels: built once, for this compiler and processor, and what happens where that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.model.kernels import build

AVX2 = "processor : 0\nflags : fpu sse2 avx2 fma bmi2\n"
PLAIN = "processor : 0\nflags : fpu sse2\n"


@pytest.fixture
def compiler(tmp_path: Path) -> build.Compiler:
    """Writes what it was asked for instead of compiling, and counts its calls in `calls`."""
    script = tmp_path / "fake-g++"
    script.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\nwhile [ "$1" != "-o" ]; do shift; done\necho library > "$2"\n'
    )
    script.chmod(0o755)
    return build.Compiler(str(script), "fake g++ 1.0")


def test_it_is_built_once(tmp_path: Path, compiler: build.Compiler) -> None:
    said: list[str] = []
    first = build.library(tmp_path / "cache", said.append, compiler, AVX2)
    second = build.library(tmp_path / "cache", said.append, compiler, AVX2)
    assert first == second and first.is_file()
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len(calls) == 1 and "-mavx2 -mfma" in calls[0]
    assert sorted(path.name for path in (tmp_path / "cache/kernels").iterdir()) == [first.parent.name]
    assert said == []


def test_another_processor_or_compiler_has_its_own_and_that_is_said(tmp_path: Path, compiler: build.Compiler) -> None:
    said: list[str] = []
    here = build.library(tmp_path, said.append, compiler, AVX2)
    plain = build.library(tmp_path, said.append, compiler, PLAIN)
    newer = build.library(tmp_path, said.append, build.Compiler(compiler.command, "fake g++ 2.0"), AVX2)
    assert len({here, plain, newer}) == 3
    assert said == ["kernels: those in the cache are another version's or another processor's; building them anew"] * 2
    assert "-mavx2" not in (tmp_path / "calls").read_text().splitlines()[1]


def test_a_compiler_that_fails_is_its_last_line_and_leaves_nothing(tmp_path: Path) -> None:
    script = tmp_path / "bad-g++"
    script.write_text("#!/bin/sh\necho first >&2\necho 'error: no room' >&2\nexit 1\n")
    script.chmod(0o755)
    with pytest.raises(build.NoKernels, match=r"^\S+bad-g\+\+ failed: error: no room$"):
        build.library(tmp_path / "cache", print, build.Compiler(str(script), "bad"), AVX2)
    assert list((tmp_path / "cache/kernels").iterdir()) == []


def test_no_compiler_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(build.NoKernels, match="no C\\+\\+ compiler"):
        build.library(tmp_path / "cache", print)


def test_a_cache_that_cannot_be_written_is_said_and_does_without(tmp_path: Path, compiler: build.Compiler) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    said: list[str] = []
    found = build.library(tmp_path / "cache", said.append, compiler, AVX2)
    assert found.is_file() and not found.is_relative_to(tmp_path / "cache")
    assert len(said) == 1 and "cannot be written" in said[0]
    found.unlink()
    found.parent.rmdir()


@pytest.mark.parametrize(
    ("cpu_info", "expected"), [(AVX2, ["-mavx2", "-mfma"]), (PLAIN, []), ("", []), ("Features : asimd\n", [])]
)
def test_flags_are_what_the_processor_has(cpu_info: str, expected: list[str]) -> None:
    assert build.processor_flags(cpu_info) == expected
