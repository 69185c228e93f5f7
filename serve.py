"""Serve without measuring: start the stack, print its address, keep it running until Ctrl-C or SIGTERM.

    python serve.py                                      the default model on port 8835, the contest judge's
    python serve.py model=arithmetic serving.http.port=0 any configuration that launch.py takes

Common: model, device (NAME of a group), serving.http.host, serving.http.port, serving.batch.decode, serving.policy,
serving.cache.num_blocks, serving.cache.block_size, outputs_dir. An API key: PLUMBLINE_API_KEY.

An agent that dies is started again (serving.agent.max_restarts). Exit status: 0 = asked to end; 2 = the configuration
is wrong; 3 = a process failed to start, or died for good.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

from conf import combinations, secrets
from conf.preflight import ConfigError, compose_config, spelled_out
from conf.schema import PlumblineConfig
from serving.config import ModelKind, StackConfig
from serving.memory import fit
from serving.processes.supervisor import ServingError, Supervisor
from serving.validate import problems

EXIT_BAD_INPUT = 2
EXIT_SERVER = 3
CACHE_VARIABLE = "PLUMBLINE_CACHE_DIR"
DEFAULTS = ["serving.http.port=8835", "serving.agent.max_restarts=5"]


def stack_config(config: PlumblineConfig) -> StackConfig:
    """The stack of a configuration, its run folder made. Raises ConfigError."""
    cache_dir = os.environ.get(CACHE_VARIABLE) or str(Path.home() / ".cache" / "plumbline")
    run_dir = Path(config.outputs_dir) / "serve" / f"{time.strftime('%Y-%m-%d_%H-%M-%S')}_{os.getpid()}"
    stack = StackConfig(config.serving, config.model, config.device, str(run_dir.resolve()), cache_dir)
    found = problems(stack)
    if config.serving.external:
        found.append("serving.external=true: there is nothing to start")
    if found:
        raise ConfigError("\nerror: ".join(found))
    if reason := combinations.unusable(run_dir):
        raise ConfigError(f"outputs_dir={config.outputs_dir}: must be a folder that can be written to ({reason})")
    return stack


def say(line: str) -> None:
    """One line for whoever watches."""
    print(line, file=sys.stderr, flush=True)


def serve(stack: StackConfig) -> int:
    """Run the stack until it is asked to end or dies; returns the exit status."""
    over = threading.Event()
    run_dir = Path(stack.run_dir)
    with Supervisor(stack, run_dir, lambda epitaph: say(f"starting it again: {epitaph}")) as supervisor:
        if stack.model.kind is ModelKind.llama:
            fits = fit.require(stack, False, say)
            supervisor.run_tool("prepare", "serving.weights.prepare", [], show_progress)
            if not fits:
                fit.require(stack, False, say)
        supervisor.start(show_progress)
        supervisor.on_death(over.set)
        print(f"{stack.model.name} at {supervisor.url} (log: {run_dir})", flush=True)
        over.wait()
        say(f"error: {supervisor.failure()}")
    return EXIT_SERVER


def show_progress(message: str, done: int, total: int) -> None:
    """What a start that takes long is doing."""
    say(f"{message} ({done}/{total})" if total else message)


def main(arguments: list[str]) -> int:
    """Exit status as in the module's docstring."""
    flags = [argument for argument in arguments if argument.startswith("-")]
    if flags:
        if {"--help", "-h"} & set(flags):
            print(f"{__doc__}\nGroups and keys are launch.py's: python launch.py --help. HTTP: docs/http.md.")
            return 0
        say(f"error: {flags[0]}: takes no flags but --help, only KEY=VALUE; sweeps and --cfg are launch.py's")
        return EXIT_BAD_INPUT
    overrides = secrets.to_environment(spelled_out(arguments))
    try:
        return serve(stack_config(compose_config([*DEFAULTS, *overrides])))
    except (ConfigError, fit.DoesNotFit) as error:
        say(f"error: {error}")
        return EXIT_BAD_INPUT
    except ServingError as error:
        say(f"error: {error}")
        return EXIT_SERVER
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.chdir(Path(__file__).parent)
    sys.exit(main(sys.argv[1:]))
