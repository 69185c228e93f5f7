"""The how-tos in docs/: every command of theirs is run, in order, as it stands; and what --help says is true."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cli.compose import CONFIG_DIR, compose_config, variants

ROOT = Path(__file__).parents[2]
HOW_TOS = ("tune-batch-and-block", "prove-accuracy", "compare-with-another-server")
pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program without results, where commands may write."""
    folder = tmp_path_factory.mktemp("docs")
    for name in ("cli", "conf", "harness", "serving", "analysis"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.glob("*.py"):
        shutil.copy(path, folder)
    return folder


def commands(name: str) -> str:
    """The bash blocks of a how-to, one after the other."""
    text = (ROOT / "docs" / f"{name}.md").read_text()
    return "\n".join(re.findall(r"^```bash\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("name", HOW_TOS)
def test_every_command_of_a_how_to_works(copy: Path, name: str) -> None:
    shutil.rmtree(copy / "outputs", ignore_errors=True)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands(name)],
        cwd=copy,
        env=os.environ | {"PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]


def test_how_tos_name_only_keys_and_files_that_exist() -> None:
    for name in HOW_TOS:
        text = (ROOT / "docs" / f"{name}.md").read_text()
        for path in re.findall(r"`(analysis/[\w/.]+|harness/[\w/.]+|conf/[\w/.]+)`", text):
            assert (ROOT / path).exists(), f"{name}: {path}"


@pytest.fixture(scope="module")
def shown() -> str:
    command = [sys.executable, str(ROOT / "launch.py"), "--help"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def test_help_names_every_group_and_choice(shown: str) -> None:
    for group in (path for path in CONFIG_DIR.iterdir() if list(path.glob("*.yaml")) and path.name != "hydra"):
        (line,) = (line for line in shown.splitlines() if line.startswith(f"{group.name}: "))
        assert set(line.partition(": ")[2].split(", ")) == {path.stem for path in group.glob("*.yaml")}


def test_commands_in_help_are_understood(shown: str) -> None:
    lines = [line.strip().split("  ")[0] for line in shown.splitlines() if line.strip().startswith("python launch.py")]
    examples = [
        line.removeprefix("python launch.py").split() for line in lines if "..." not in line and line[-1] != "["
    ]
    composed = 0
    for words in examples:
        overrides = [word.strip("'") for word in words if word != "-m"]
        for job in variants(overrides, "-m" in words):
            compose_config(job)
            composed += 1
    assert composed > 10
