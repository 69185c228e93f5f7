"""The server that is measured: one that runs already, or a stack of our own that ends with the measurement."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from cli import stack
from cli.compose import ConfigError
from cli.configs import stack_config
from conf.schema import PlumblineConfig
from harness import run_folder
from harness.config import ReferenceKind
from harness.load.prompts import Prompt
from harness.run.progress import Display
from harness.run.work import Work
from harness.server import ExternalServer, Server, ServerError
from serving.config import ModelKind
from serving.engine.admission import check_length
from serving.engine.request import InvalidRequest
from serving.processes.supervisor import ServingError, Supervisor
from serving.tokenizer.of_stack import open_tokenizer
from serving.tokenizer.tokenizer import Tokenizer
from serving.weights.identity import identity

_REFERENCES = {ModelKind.llama: "serving.reference.llama", ModelKind.arithmetic: "serving.reference.arithmetic"}


@dataclass
class SupervisedServer:
    """The supervisor's stack as the harness sees it (harness.server.Server)."""

    supervisor: Supervisor
    model_name: str
    api_key: str
    reference_module: str
    vocab_size: int | None = None

    def __post_init__(self) -> None:
        self.url = self.supervisor.url
        self.captured_dir: Path | None = self.supervisor.run_dir / run_folder.CAPTURES

    def failure(self) -> str | None:
        """Why the stack is no longer whole, or None."""
        return self.supervisor.failure()

    def on_death(self, callback: Callable[[], None]) -> None:
        """Call back when a serving process ends that was not asked to."""
        self.supervisor.on_death(callback)

    def pids(self) -> dict[str, int]:
        """Process ids of front end and agents."""
        return self.supervisor.pids

    def about(self) -> dict[str, Any]:
        """Model, hashes, dtype, device, versions. Raises ServerError if the model cannot be read."""
        try:
            return identity(self.supervisor.stack)
        except OSError as error:
            raise ServerError(f"the served model cannot be identified: {error}") from None

    def stop(self) -> None:
        """End every serving process."""
        self.supervisor.stop()

    def reference(self, captured: Path, out: Path, on_progress: Callable[[str, int, int], None]) -> None:
        """Compute reference rows in a process of its own. Raises ServerError."""
        arguments = ["--captured", str(captured.resolve()), "--out", str(out.resolve())]
        try:
            self.supervisor.run_tool("reference", self.reference_module, arguments, on_progress)
        except ServingError as error:
            raise ServerError(str(error)) from None


@contextlib.contextmanager
def started(config: PlumblineConfig, work: Work, run_dir: Path, console: Console) -> Iterator[Server]:
    """A server to measure: the one at serving.url, or a stack of our own that ends with the block."""
    if config.serving.external:
        yield ExternalServer(config.serving.url, config.model.name, config.serving.http.api_key)
        return
    again = config.accuracy.enabled and config.accuracy.reference is ReferenceKind.independent

    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    with Supervisor(stack_config(config, run_dir), run_dir) as supervisor:
        with Display(console) as display:
            stack.prepare(supervisor, say, display.show, again)
            tokenizer = open_tokenizer(supervisor.stack)
            check_prompts_fit(config, work, tokenizer)
            supervisor.start(display.show)
        yield SupervisedServer(
            supervisor,
            config.model.name,
            config.serving.http.api_key,
            _REFERENCES[config.model.kind],
            tokenizer.vocab_size,
        )


def check_prompts_fit(config: PlumblineConfig, work: Work, tokenizer: Tokenizer) -> None:
    """Raise ConfigError naming the first prompt that with its output is longer than the context."""
    for path, prompts in _all_prompts(config, work, tokenizer.vocab_size):
        for prompt in prompts:
            length = len(prompt.token_ids or tokenizer.encode(prompt.text or "", tokenizer.adds_bos))
            try:
                check_length(length, prompt.max_new_tokens, config.model.seq_length)
            except InvalidRequest as error:
                raise ConfigError(f"{path}: prompt {prompt.prompt_id}: {error}") from None


def _all_prompts(config: PlumblineConfig, work: Work, vocab_size: int) -> Iterator[tuple[str, list[Prompt]]]:
    """What the run will send, with the file it is from."""
    yield config.workload.dataset.path, work.prompts.take(work.largest_count, vocab_size)
    if work.logits_prompts is not None:
        path = config.accuracy.dataset_path or config.workload.dataset.path
        yield path, work.logits_prompts.take(config.accuracy.num_prompts, vocab_size)
