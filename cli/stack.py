"""Gets a stack of our own ready to be started: what fits is asked for, and the model's files are made."""

from __future__ import annotations

from collections.abc import Callable

from serving.config import ModelKind
from serving.memory import fit
from serving.processes.supervisor import Supervisor


def prepare(
    supervisor: Supervisor,
    say: Callable[[str], None],
    on_progress: Callable[[str, int, int], None],
    with_reference: bool = False,
) -> None:
    """Return once the model's files are there. with_reference: the reference will load the weights once more.

    on_progress gets a message, what is done and the total. Raises ServingError, and DoesNotFit if this machine cannot
    hold the model.
    """
    if supervisor.stack.model.kind is not ModelKind.llama:
        return
    known = fit.require(supervisor.stack, with_reference, say)
    supervisor.run_tool("prepare", "serving.weights.prepare", [], on_progress)
    if not known:
        fit.require(supervisor.stack, with_reference, say)
