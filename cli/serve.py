"""`python serve.py`: a stack that runs until it is asked to end, with nothing measured."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

from cli import combinations, secrets, stack
from cli.compose import ConfigError, compose_config, spelled_out
from cli.configs import stack_config
from cli.job import EXIT_BAD_INPUT
from conf.schema import PlumblineConfig
from harness.run.run import EXIT_SERVER
from serving.config import StackConfig
from serving.memory import fit
from serving.processes.supervisor import ServingError, Supervisor
from serving.validate import problems

DEFAULTS = ["serving.http.port=8835", "serving.agent.max_restarts=5"]


def checked_stack(config: PlumblineConfig) -> StackConfig:
    """The stack of a configuration, its run folder made. Raises ConfigError."""
    run_dir = Path(config.outputs_dir) / "serve" / f"{time.strftime('%Y-%m-%d_%H-%M-%S')}_{os.getpid()}"
    checked = stack_config(config, run_dir)
    found = problems(checked)
    if config.serving.external:
        found.append("serving.external=true: there is nothing to start")
    if found:
        raise ConfigError("\nerror: ".join(found))
    if reason := combinations.unusable(run_dir):
        raise ConfigError(f"outputs_dir={config.outputs_dir}: must be a folder that can be written to ({reason})")
    return checked


def say(line: str) -> None:
    """One line for whoever watches."""
    print(line, file=sys.stderr, flush=True)


def serve(config: StackConfig) -> int:
    """Run the stack until it is asked to end or dies; returns the exit status."""
    over = threading.Event()
    run_dir = Path(config.run_dir)
    with Supervisor(config, run_dir, lambda reason: say(f"starting it again: {reason}")) as supervisor:
        stack.prepare(supervisor, say, show_progress)
        supervisor.start(show_progress)
        supervisor.on_death(over.set)
        print(f"{config.model.name} at {supervisor.url} (log: {run_dir})", flush=True)
        over.wait()
        say(f"error: {supervisor.failure()}")
    return EXIT_SERVER


def show_progress(message: str, done: int, total: int) -> None:
    """What a start that takes long is doing."""
    say(f"{message} ({done}/{total})" if total else message)


def main(arguments: list[str], help_text: str) -> int:
    """The exit status, as in serve.py's docstring, which is `help_text`."""
    flags = [argument for argument in arguments if argument.startswith("-")]
    if flags:
        if {"--help", "-h"} & set(flags):
            print(f"{help_text}\nGroups and keys are launch.py's: python launch.py --help. HTTP: docs/http.md.")
            return 0
        say(f"error: {flags[0]}: takes no flags but --help, only KEY=VALUE; sweeps and --cfg are launch.py's")
        return EXIT_BAD_INPUT
    overrides = secrets.to_environment(spelled_out(arguments))
    try:
        return serve(checked_stack(compose_config([*DEFAULTS, *overrides])))
    except (ConfigError, fit.DoesNotFit) as error:
        say(f"error: {error}")
        return EXIT_BAD_INPUT
    except ServingError as error:
        say(f"error: {error}")
        return EXIT_SERVER
    except KeyboardInterrupt:
        return 0
