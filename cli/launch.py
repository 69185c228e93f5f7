"""`python launch.py`: check everything that can be checked at once, then run the job or the sweep."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console

from cli import compose, sweep
from cli.check import Job, check, checked
from cli.compose import Composed, ConfigError
from cli.job import EXIT_BAD_INPUT, run_info, start_job
from conf.schema import register
from harness.claim import claim
from harness.run.run import EXIT_INTERRUPTED
from harness.sweep.session import Place
from harness.tracking.errors import TrackingUnavailable

_SWEEP_FLAGS = {"-m", "--multirun"}
# Hydra's own questions about the configuration: nothing is run, so there is nothing to check first.
_INFO_FLAGS = {"--help", "-h", "--hydra-help", "--cfg", "-c", "--info", "-i", "--shell-completion", "-sc"}


@hydra.main(version_base="1.3", config_path="../conf", config_name="config")
def hydra_job(composed: DictConfig) -> float | tuple[float, ...] | None:
    """A variant that one of Hydra's launchers or sweepers starts; returns what a search is to optimise."""
    about = HydraConfig.get()
    place = Place(Path(about.sweep.dir).resolve(), Path(about.runtime.output_dir), about.job.num)
    job = checked(Composed(list(about.overrides.task), composed, compose.to_dataclasses(composed)))
    return sweep.run_variant(place, job, compose.engines_of(about), Console(highlight=False))


def ask_hydra(arguments: list[str]) -> Any:
    """Hand over to Hydra, which reads its command line from `sys.argv` and nowhere else."""
    sys.argv[1:] = arguments
    return hydra_job()


def run_single(job: Job, console: Console) -> int:
    """Run what was composed and checked, in a folder that no other command has."""
    config = job.config
    run_dir = compose.run_dir_of(job.overrides) or claim(Path(config.outputs_dir) / config.name)
    run_dir.mkdir(parents=True, exist_ok=True)
    return start_job(job, run_info(config, run_dir.resolve()), console)


def main(arguments: list[str]) -> int:
    """The exit status, as in launch.py's docstring."""
    flags = {argument for argument in arguments if argument.startswith("-")}
    overrides = [argument for argument in arguments if argument not in flags]
    console = Console(highlight=False)
    register()
    if flags & _INFO_FLAGS:
        ask_hydra(arguments)
        return 0
    try:
        if unknown := sorted(flags - _SWEEP_FLAGS):
            raise ConfigError(f"{unknown[0]}: no such option; known: -m, --help, --cfg job; settings are KEY=VALUE")
        jobs = check(overrides, multirun=bool(flags))
        begun = sweep.begin(jobs, overrides, console) if flags else None
    except (ConfigError, TrackingUnavailable) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    try:
        return begun.run(jobs, ask_hydra) if begun else run_single(jobs[0], console)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
