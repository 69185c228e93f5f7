"""The real front end and agents as processes of a test, with the arithmetic model, so that all is computable."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from serving.agent.arithmetic import EOS_ID
from serving.config import StackConfig
from serving.processes import stack_file

ROOT = Path(__file__).parents[2]
MODEL = "arithmetic-1"


@dataclass
class RunningStack:
    """Processes that have said they are ready."""

    port: int
    run_dir: Path
    frontend: subprocess.Popen[bytes]
    agents: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str) -> Any:
        """JSON of a page."""
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return json.load(answer)

    def outcomes(self, protocol: str) -> dict[str, int]:
        """How this protocol's requests have ended so far."""
        found: dict[str, int] = self.get("/stats")["http"]["outcomes"].get(protocol, {})
        return found

    def log(self) -> str:
        """What the front end wrote."""
        return (self.run_dir / "frontend.log").read_text()


def expected_tokens(prompt: list[int], count: int) -> list[int]:
    """The arithmetic model by hand: sum of (i + 1) * token_i, mod 256, or EOS where the sum divides by 4099."""
    ids = list(prompt)
    for _ in range(count):
        total = sum((i + 1) * token for i, token in enumerate(ids))
        ids.append(EOS_ID if total % 4099 == 0 else total % 256)
        if ids[-1] == EOS_ID:
            break
    return ids[len(prompt) :]


def expected_text(prompt: str, count: int) -> str:
    """The same as text; a broken character becomes U+FFFD."""
    return bytes(token for token in expected_tokens(list(prompt.encode()), count) if token < 256).decode(
        errors="replace"
    )


def spawn(module: str, config: Path, *arguments: str, **environment: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start a serving process; returns it and the reading end of its status pipe."""
    reading, writing = os.pipe()
    variables = {"PLUMBLINE_STATUS_FD": str(writing), "PLUMBLINE_PARENT_PID": str(os.getpid())}
    log = config.parent / f"{module.rpartition('.')[2]}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module, "--config", str(config), *arguments],
            env=os.environ | variables | environment,
            pass_fds=[writing],
            stdout=output,
            stderr=output,
            cwd=ROOT,
        )
    os.close(writing)
    return process, reading


def await_phase(reading: int, phase: str) -> dict[str, Any]:
    """The first status line of that phase, or of an error, or {} if the process ends without either."""
    with os.fdopen(reading) as lines:
        for line in lines:
            status: dict[str, Any] = json.loads(line)
            if status["phase"] in (phase, "error"):
                return status
    return {}


def write_config(run_dir: Path, *overrides: str) -> Path:
    """A stack.json for the arithmetic model with `key=value` overrides."""
    base = ["model.kind=arithmetic", "model.source=none", f"model.name={MODEL}", f"run_dir={run_dir}"]
    merged = OmegaConf.merge(OmegaConf.structured(StackConfig), OmegaConf.from_dotlist([*base, *overrides]))
    stack = OmegaConf.to_object(merged)
    assert isinstance(stack, StackConfig)
    return stack_file.save(stack, run_dir)


@contextlib.contextmanager
def running_stack(run_dir: Path, *overrides: str, num_agents: int = 1) -> Iterator[RunningStack]:
    """Start the processes, wait until they are ready, and end them (killed if SIGTERM does not do within 5 s)."""
    config = write_config(run_dir, *overrides)
    prefix = f"plumbline-test-{secrets.token_hex(6)}-"
    environment = {"PLUMBLINE_LINK_TOKEN": secrets.token_hex(8), "PLUMBLINE_SHM_PREFIX": prefix}
    typed = dict(override.split("=", 1) for override in overrides)
    environment[stack_file.KEY_VARIABLE] = typed.get("serving.http.api_key", "")  # as the supervisor does
    frontend, reading = spawn("serving.frontend", config, **environment)
    stack = RunningStack(0, run_dir, frontend)
    try:
        status = await_phase(reading, "listening")
        assert status.get("phase") == "listening", (status, stack.log())
        stack.port = status["http_port"]
        for index in range(num_agents):
            arguments = ["--device-index", str(index), "--link", f"127.0.0.1:{status['link_port']}"]
            agent, reading = spawn("serving.agent", config, *arguments, **environment)
            stack.agents.append(agent)
            ready = await_phase(reading, "ready")
            assert ready.get("phase") == "ready", ready
        yield stack
    finally:
        for process in (frontend, *stack.agents):
            process.terminate()
        for process in (frontend, *stack.agents):
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
