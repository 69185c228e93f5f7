"""python -m serving.agent: loads the model, dials in at the front end, runs its steps until told to leave."""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import sys
import traceback
from pathlib import Path

from serving.agent.arithmetic import VOCAB_SIZE
from serving.agent.runner import FakeRunner, ModelRunner, Runner
from serving.agent.session import Session, one_line
from serving.config import Fake, ModelKind, StackConfig
from serving.link.errors import LinkError
from serving.link.layout import Shapes
from serving.link.message import Hello
from serving.link.step import Model
from serving.processes import parent_watch, stack_file, status

_MODULES = {ModelKind.llama: "serving.model.llama", ModelKind.arithmetic: "serving.agent.arithmetic"}
TOKEN_VARIABLE = "PLUMBLINE_LINK_TOKEN"


def main() -> None:
    """Exits 0 after the engine's bye, 1 with one line of error otherwise."""
    parent_watch.die_with_parent()
    parser = argparse.ArgumentParser(prog="python -m serving.agent", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="stack.json of the run")
    parser.add_argument("--device-index", type=int, default=0, metavar="I", help="which of serving.agent.device_ids")
    parser.add_argument("--link", required=True, metavar="HOST:PORT", help="where the front end listens for agents")
    arguments = parser.parse_args()
    stack = stack_file.load(arguments.config)
    enter_own_folder(stack, arguments.device_index)
    os.environ.update(stack.device.environment)
    try:
        runner, hello = prepare(stack, arguments.device_index)
        host, _, port = arguments.link.rpartition(":")
        session = Session.dial(host, int(port))
        session.shake_hands(hello)
        status.report("ready")
        session.serve(runner)
    except LinkError as error:
        traceback.print_exc()
        status.fail(one_line(error))


def enter_own_folder(stack: StackConfig, device_index: int) -> None:
    """MindSpore litters the working directory: give each agent one of its own under the run."""
    folder = Path(stack.run_dir) / f"agent-{device_index}"
    folder.mkdir(parents=True, exist_ok=True)
    sys.path.insert(0, str(Path.cwd()))
    os.chdir(folder)


def prepare(stack: StackConfig, device_index: int) -> tuple[Runner, Hello]:
    """Load and warm the model. Ends the process with one line of error if that fails."""
    shapes = Shapes.from_stack(stack)
    runner: Runner
    if stack.serving.fake is Fake.agent:
        runner, vocab_size, cached_prefill = FakeRunner(shapes), VOCAB_SIZE, True
    else:
        kind = ModelKind.arithmetic if stack.serving.fake is Fake.model else stack.model.kind
        try:
            model: Model = importlib.import_module(_MODULES[kind]).load(stack, device_index, report_progress)
            model.warm()
        except Exception as error:
            traceback.print_exc()
            status.fail(f"model {stack.model.name} could not be made ready: {one_line(error)}")
        runner, vocab_size = ModelRunner(model, shapes), model.vocab_size
        cached_prefill = bool(getattr(model, "supports_cached_prefill", False))
    gc.freeze()  # what is loaded now stays: no collection needs to look at it again
    hello = Hello(os.environ.get(TOKEN_VARIABLE, ""), device_index, os.getpid(), vocab_size, cached_prefill, shapes)
    return runner, hello


def report_progress(message: str, done: int, total: int) -> None:
    """What a loading model says, for the supervisor's progress display."""
    status.report("progress", message=message, done=done, total=total)


if __name__ == "__main__":
    main()
