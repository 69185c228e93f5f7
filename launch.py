"""Plumbline's one command: start a serving stack, time it, check its logits, log both as one verdict.

    python launch.py                                     the default experiment
    python launch.py experiment=smoke                    the whole path in seconds, without MindSpore
    python launch.py -m serving.batch.decode=1,4,8       a sweep: one MLflow parent, a child per variant (sweeps.py)

Exit status: 0 = every request finished and the logits met the bar; 1 = they did not; 2 = the configuration or the
input is wrong; 3 = a process failed to start or died; 130 = interrupted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

import acceptance
import sweeps
from conf import combinations, preflight, secrets
from conf.preflight import ConfigError
from conf.schema import PlumblineConfig, register
from harness.accuracy import task
from harness.config import HarnessConfig, ReferenceKind
from harness.load import prompts
from harness.load.arrivals import schedules
from harness.load.generator import INTERRUPTED, LoadError
from harness.run import interruption
from harness.run.info import RunInfo
from harness.run.preflight import problems as harness_problems
from harness.run.progress import Display
from harness.run.run import EXIT_INTERRUPTED, EXIT_SERVER, Run
from harness.run_folder import claim, point_latest_at
from harness.server import ExternalServer, Server, ServerError
from harness.tracking.errors import TrackingFailed, TrackingUnavailable
from harness.tracking.tracked_run import flatten
from harness.tracking.tracker import open_tracker, tracker_for
from serving.config import ModelKind, StackConfig
from serving.memory import fit
from serving.processes.supervisor import ServingError, Supervisor
from serving.tokenizer.of_stack import open_tokenizer
from serving.tokenizer.tokenizer import Tokenizer, TokenizerError
from serving.validate import problems as stack_problems
from serving.weights.identity import identity

EXIT_BAD_INPUT = 2
CACHE_VARIABLE = "PLUMBLINE_CACHE_DIR"
# Hydra's own questions about the configuration: nothing is run, so there is nothing to check first.
_INFO_FLAGS = {"--help", "-h", "--hydra-help", "--cfg", "-c", "--info", "-i", "--shell-completion", "-sc"}
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
        self.captured_dir: Path | None = self.supervisor.run_dir / "captures"

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


def stack_config(config: PlumblineConfig, run_dir: Path) -> StackConfig:
    """The part of the configuration that the serving processes get."""
    cache_dir = os.environ.get(CACHE_VARIABLE) or str(Path.home() / ".cache" / "plumbline")
    return StackConfig(config.serving, config.model, config.device, str(run_dir.resolve()), cache_dir)


def harness_config(config: PlumblineConfig) -> HarnessConfig:
    """The part of the configuration that the harness gets."""
    return HarnessConfig(config.workload, config.accuracy, config.tracking)


def check_prompts_fit(config: PlumblineConfig, tokenizer: Tokenizer) -> None:
    """Raise ConfigError naming the first prompt that with its output is longer than the context."""
    dataset = config.workload.dataset
    wanted = [(dataset, max(schedule.count for schedule in schedules(config.workload).values()))]
    if config.accuracy.enabled:
        wanted.append((task.dataset(harness_config(config)), config.accuracy.num_prompts))
    for source, count in wanted:
        for prompt in prompts.load(source, count, tokenizer.vocab_size):
            length = len(prompt.token_ids or tokenizer.encode(prompt.text or "", tokenizer.adds_bos))
            if length + prompt.max_new_tokens > config.model.seq_length:
                raise ConfigError(
                    f"{source.path}: prompt {prompt.prompt_id} has {length} tokens and asks for "
                    f"{prompt.max_new_tokens} more; model.seq_length={config.model.seq_length} must hold both"
                )


def require_memory(config: PlumblineConfig, stack: StackConfig, console: Console) -> bool:
    """See serving.memory.fit.require; the independent reference loads the weights once more."""
    again = config.accuracy.enabled and config.accuracy.reference is ReferenceKind.independent
    return fit.require(stack, again, lambda line: console.print(line, markup=False, soft_wrap=True))


@contextlib.contextmanager
def started(config: PlumblineConfig, run_dir: Path, console: Console) -> Iterator[Server]:
    """A server to measure: the one at serving.url, or a stack of our own that ends with the block."""
    if config.serving.external:
        yield ExternalServer(config.serving.url, config.model.name, config.serving.http.api_key)
        return
    with Supervisor(stack_config(config, run_dir), run_dir) as supervisor:
        with Display(console) as display:
            if config.model.kind is ModelKind.llama:
                fits = require_memory(config, supervisor.stack, console)
                supervisor.run_tool("prepare", "serving.weights.prepare", [], display.show)
                if not fits:
                    require_memory(config, supervisor.stack, console)
            tokenizer = open_tokenizer(supervisor.stack)
            check_prompts_fit(config, tokenizer)
            supervisor.start(display.show)
        yield SupervisedServer(
            supervisor,
            config.model.name,
            config.serving.http.api_key,
            _REFERENCES[config.model.kind],
            tokenizer.vocab_size,
        )


def run_job(config: PlumblineConfig, info: RunInfo, console: Console) -> int:
    """One variant from start to verdict; returns its exit status and leaves no process behind."""
    tracker = tracker_for(config.tracking, Path(config.outputs_dir))
    run = Run(harness_config(config), info, tracker, console)
    try:
        # MLflow takes seconds to import: that is done by the time the stack is up, so never beside a timed request.
        with ThreadPoolExecutor(1) as pool:
            warming = pool.submit(tracker.warm) if tracker else None
            with started(config, info.run_dir, console) as server:
                if warming:
                    warming.exception()  # a store that is gone by now is told of when the run is sent
                return run.measure(server)
    except (ConfigError, TokenizerError, fit.DoesNotFit) as error:
        return run.abandon(str(error), EXIT_BAD_INPUT)
    except (ServingError, ServerError, LoadError, TrackingFailed) as error:
        return run.abandon(str(error), EXIT_SERVER)
    except KeyboardInterrupt:
        return run.abandon(INTERRUPTED, EXIT_INTERRUPTED)
    except Exception as error:
        run.abandon(f"internal error: {type(error).__name__}: {error}".splitlines()[0], EXIT_SERVER)
        raise


def run_info(config: PlumblineConfig, run_dir: Path, sweep_dir: Path | None, overrides: list[str]) -> RunInfo:
    """What the harness needs to know about the configuration it does not look into."""
    return RunInfo(
        name=config.name,
        title=f"{config.model.name} on {config.device.name}",
        run_dir=run_dir,
        params=secrets.redacted(flatten(dataclasses.asdict(config))),
        device=config.device.name,
        served_dtype=config.device.dtype,
        npu_ids=config.serving.agent.device_ids if config.device.target == "Ascend" else [],
        batch_size=config.serving.batch.decode,
        sweep_dir=sweep_dir,
        variant=sweeps.variant_name(sweep_dir, overrides) if sweep_dir else "",
    )


@dataclass
class Session:
    """What the jobs of this process leave for its end."""

    exit_codes: list[int]


_session = Session([])


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def job(composed: DictConfig) -> float | tuple[float, ...] | None:
    """Hydra's entry: a single run, or a variant of a sweep, which gives a search what it is to optimise."""
    about = HydraConfig.get()
    config = preflight.to_dataclasses(composed)
    sweep_dir = Path(about.sweep.dir).resolve() if about.mode is not None and about.mode.name == "MULTIRUN" else None
    info = run_info(config, Path(about.runtime.output_dir), sweep_dir, list(about.overrides.task))
    console = Console(highlight=False)

    def start(chosen: PlumblineConfig) -> int:
        OmegaConf.save(composed, info.run_dir / "config.yaml")
        return start_job(chosen, info, console)

    if sweep_dir is not None:
        return sweeps.run_variant(about, config, info, console, start)
    _session.exit_codes.append(start(config))
    return None


def start_job(config: PlumblineConfig, info: RunInfo, console: Console) -> int:
    """Say where the run's folder is, and run it. Raises KeyboardInterrupt when it was interrupted and put away."""
    point_latest_at(info.run_dir, Path(config.outputs_dir))
    console.print(f"{config.name} → {info.run_dir} {info.variant}".strip(), markup=False, soft_wrap=True)
    with acceptance.packed(config, stack_config(config, info.run_dir), info, console):
        code = run_job(config, info, console)
    if code == EXIT_INTERRUPTED:
        raise KeyboardInterrupt
    return code


def check(overrides: list[str], multirun: bool) -> list[sweeps.Variant]:
    """Every variant, composed. Raises ConfigError for anything that can be known to be wrong before it starts."""
    variants = []
    for job_overrides in preflight.variants(overrides, multirun):
        config = preflight.compose_config(job_overrides)
        external_url = config.serving.url if config.serving.external else None
        found = combinations.problems(config) + acceptance.problems(config)
        found += harness_problems(harness_config(config), external_url)
        if external_url is None:
            found += stack_problems(stack_config(config, Path.cwd()))
        if found:
            raise ConfigError("\nerror: ".join(found))
        variants.append(sweeps.Variant(job_overrides, config))
    for store in {variant.config.tracking.uri: variant.config for variant in variants}.values():
        open_tracker(store.tracking, Path(store.outputs_dir))
    return variants


def main(arguments: list[str]) -> int:
    """Check everything that can be checked at once, then let Hydra run the job or jobs."""
    flags = {argument for argument in arguments if argument.startswith("-")}
    overrides = [argument for argument in arguments if argument not in flags]
    multirun = bool(flags & {"-m", "--multirun"})
    sweep = None
    register()
    if not flags & _INFO_FLAGS:
        try:
            variants = check(overrides, multirun)
            sweep = sweeps.begin(variants, overrides, Console(highlight=False)) if multirun else None
        except (ConfigError, TrackingUnavailable) as error:
            print(f"error: {error}", file=sys.stderr)
            return EXIT_BAD_INPUT
    if sweep is not None:
        # Flags first: Hydra's command line does not understand `key=value -m key=value`.
        sys.argv = [sys.argv[0], *flags, *overrides, f"hydra.sweep.dir={preflight.quoted(sweep.folder)}"]
        return sweep.run(job)
    if not flags & _INFO_FLAGS and not any(override.startswith("hydra.run.dir=") for override in overrides):
        config = variants[0].config
        sys.argv.append(f"hydra.run.dir={preflight.quoted(claim(Path(config.outputs_dir) / config.name))}")
    try:
        job()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return max(_session.exit_codes, default=0)


if __name__ == "__main__":
    interruption.on_signals()
    os.chdir(Path(__file__).parent)
    sys.argv[1:] = secrets.to_environment(preflight.spelled_out(sys.argv[1:]))
    sys.exit(main(sys.argv[1:]))
