"""Other load generators under the same case, as their own documentation starts them. None is a dependency of ours."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np

from harness.bench.account import Account, Reported
from harness.bench.case import Case

_TIMEOUT_S = 240.0
_VLLM_MAIN = (
    "import argparse; from vllm.benchmarks import serve; "
    "parser = argparse.ArgumentParser(); serve.add_cli_args(parser); serve.main(parser.parse_args())"
)


class PeerError(RuntimeError):
    """A peer did not run or wrote nothing that can be read; one line."""


class Peer(ABC):
    """One load generator. `executable`: its command, or the Python that has it."""

    name: str
    variable: str  # environment variable that names the executable
    command: str  # found on PATH without one; "" = not looked for

    def __init__(self, executable: str) -> None:
        self.executable = executable

    def run(self, case: Case, url: str, tokenizer: Path, folder: Path) -> Account:
        """Run it to its end. Raises PeerError."""
        environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
        environment |= {"HF_HOME": str(folder / "huggingface"), "GUIDELLM__MAX_WORKER_PROCESSES": "1"}
        arguments = [self.executable, *self.arguments(case, url, tokenizer, folder)]
        log = folder / f"{self.name}.log"
        with log.open("wb") as output:
            try:
                process = subprocess.Popen(
                    arguments, cwd=folder, env=environment, stdout=output, stderr=output, start_new_session=True
                )
            except OSError as error:
                raise PeerError(f"{self.name}: {self.executable}: {error.strerror}") from None
            try:
                process.wait(_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                raise PeerError(f"{self.name}: not done after {_TIMEOUT_S:g} s") from None
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # its helpers as well
                process.wait()
        try:
            return Account(self.read(folder))
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            last = (log.read_text(errors="replace").strip().splitlines() or ["no output"])[-1]
            raise PeerError(f"{self.name}: no result that can be read ({error!r}); it said: {last:.200}") from None

    @abstractmethod
    def arguments(self, case: Case, url: str, tokenizer: Path, folder: Path) -> list[str]:
        """The command line after the executable."""

    @abstractmethod
    def read(self, folder: Path) -> list[Reported]:
        """Its finished requests, from the files it wrote."""


class Aiperf(Peer):
    """NVIDIA's aiperf."""

    name, variable, command = "aiperf", "PLUMBLINE_AIPERF", "aiperf"

    def arguments(self, case: Case, url: str, tokenizer: Path, folder: Path) -> list[str]:
        """As its quick start has it, two workers for two cores."""
        load = ["--request-rate", f"{case.rate:g}", "--arrival-pattern", "constant", "--request-count", str(case.count)]
        return [
            "profile", "-m", "reference", "-u", url, "--endpoint-type", "completions", "--streaming",
            "--tokenizer", str(tokenizer), "--isl", "32", "--isl-stddev", "0", "--osl", str(case.num_tokens), *load,
            "--random-seed", "42", "--num-dataset-entries", "20", "--workers-max", "2", "--ui", "none",
            "--no-gpu-telemetry", "--no-server-metrics", "--artifact-dir", str(folder / "aiperf"),
        ]  # fmt: skip

    def read(self, folder: Path) -> list[Reported]:
        """profile_export.jsonl: one line per request."""
        rows = map(json.loads, (folder / "aiperf" / "profile_export.jsonl").read_text().splitlines())
        return [self._reported(row["metadata"], row["metrics"]) for row in rows if not row.get("error")]

    @staticmethod
    def _reported(about: dict[str, Any], metrics: dict[str, Any]) -> Reported:
        gaps_ms = np.asarray(metrics["inter_chunk_latency"]["value"])
        return Reported(about["request_start_ns"], metrics["time_to_first_token"]["value"], gaps_ms)


class Guidellm(Peer):
    """guidellm; it tells each request's mean gap only."""

    name, variable, command = "guidellm", "PLUMBLINE_GUIDELLM", "guidellm"

    def arguments(self, case: Case, url: str, tokenizer: Path, folder: Path) -> list[str]:
        """One worker process (set in the environment)."""
        return [
            "run", "--backend", f"kind=openai_http,target={url},model=reference,request_format=/v1/completions",
            "--tokenizer", f"kind=huggingface_auto,model={tokenizer}",
            "--data", f"kind=synthetic_text,prompt_tokens=32,output_tokens={case.num_tokens}",
            "--profile", f"kind=constant,rate={case.rate:g}", "--constraint", f"kind=max_requests,count={case.count}",
            "--seed", "kind=static,value=42", "--output", f"kind=json,path={folder / 'guidellm.json'}",
            "--disable-console-interactive",
        ]  # fmt: skip

    def read(self, folder: Path) -> list[Reported]:
        """The only benchmark's successful requests."""
        (benchmark,) = json.loads((folder / "guidellm.json").read_text())["benchmarks"]
        return [
            Reported(
                row["request_start_time"], row["time_to_first_token_ms"], np.asarray([row["inter_token_latency_ms"]])
            )
            for row in benchmark["requests"]["successful"]
        ]


class Vllm(Peer):
    """`vllm bench serve`, started through its own parser, since the CPU wheel has no `vllm` command."""

    name, variable, command = "vllm", "PLUMBLINE_VLLM_PYTHON", ""

    def arguments(self, case: Case, url: str, tokenizer: Path, folder: Path) -> list[str]:
        """Infinite burstiness is its word for constant gaps."""
        return [
            "-c", _VLLM_MAIN, "--backend", "openai", "--base-url", url, "--endpoint", "/v1/completions",
            "--model", "reference", "--tokenizer", str(tokenizer), "--dataset-name", "random",
            "--random-input-len", "32", "--random-output-len", str(case.num_tokens), "--num-prompts", str(case.count),
            "--request-rate", f"{case.rate:g}", "--burstiness", "inf", "--seed", "42", "--ignore-eos",
            "--percentile-metrics", "ttft,tpot,itl,e2el", "--metric-percentiles", "50,99", "--save-result",
            "--save-detailed", "--result-filename", str(folder / "vllm.json"), "--disable-tqdm",
        ]  # fmt: skip

    def read(self, folder: Path) -> list[Reported]:
        """Lists per request, an empty error for a finished one."""
        row = json.loads((folder / "vllm.json").read_text())
        requests = zip(row["start_times"], row["ttfts"], row["itls"], row["errors"], strict=True)
        return [
            Reported(started, ttft_s * 1e3, np.asarray(itls_s) * 1e3)
            for started, ttft_s, itls_s, error in requests
            if not error
        ]


PEERS: tuple[type[Peer], ...] = (Aiperf, Guidellm, Vllm)


def find(kind: type[Peer], given: str | None) -> Peer | None:
    """The peer, where an option, its environment variable or PATH names it; None if nothing does.

    Raises PeerError for a name that is no executable.
    """
    named = given or os.environ.get(kind.variable)
    found = shutil.which(named or kind.command) if named or kind.command else None
    if named and found is None:
        raise PeerError(f"{kind.name}: {named} is no executable")
    return kind(str(Path(found).absolute())) if found else None
