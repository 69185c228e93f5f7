"""Whether this machine's memory holds what a configuration needs, asked before anything is loaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from serving.config import ModelShape, StackConfig, WeightSource
from serving.memory.plan import MemoryPlan, gigabytes, plan_for
from serving.weights.served_folder import locate, shape_of

SHAPED = (WeightSource.checkpoint, WeightSource.random)  # sources without a shape of their own: `model.shape` is it
_SHM = Path("/dev/shm")
_CGROUP = Path("/sys/fs/cgroup")  # version 2, as a container sees its own
# MindSpore takes `max_device_memory` in units of 1024^3 bytes.
_GIB = 1 << 30


class DoesNotFit(ValueError):
    """The machine's memory cannot hold the model: one line that names what to lower."""


@dataclass(frozen=True, slots=True)
class Available:
    """Bytes that are free now; None = not known."""

    ram: int
    shm: int | None
    device: int | None  # of memory that a device has of its own


@dataclass(frozen=True, slots=True)
class Fit:
    """`line`: the arithmetic. `problem`: why it cannot run. `doubt`: why it may not. Both one line, or ""."""

    line: str
    problem: str
    doubt: str


def known_shape(stack: StackConfig) -> ModelShape | None:
    """The shape of the model to be served; None if it lies in files that are not prepared yet."""
    if stack.model.source in SHAPED:
        return stack.model.shape
    try:
        return shape_of(json.loads((locate(stack) / "config.json").read_text()))
    except (OSError, ValueError, KeyError):
        return None  # preparing says what is wrong with it


def available(stack: StackConfig) -> Available:
    """Ask the machine; device memory is what the configuration allows the device to use."""
    limit = stack.device.max_device_memory
    device = round(float(limit.removesuffix("GB")) * _GIB) if limit and stack.device.target == "Ascend" else None
    shm = shutil.disk_usage(_SHM).free if _SHM.is_dir() else None
    return Available(free_ram_bytes(), shm, device)


def fit(stack: StackConfig, plan: MemoryPlan, free: Available, with_reference: bool) -> Fit:
    """Pure. `with_reference`: the same weights are loaded once more, beside the agents, to check logits with."""
    agents = len(stack.serving.agent.device_ids)
    each = f"{plan.line()}" + (f" for each of {agents} agents" if agents > 1 else "")
    if plan.has_own_memory:
        where = f"of {gigabytes(free.device)} allowed" if free.device is not None else "of device memory"
        line = f"memory: {each} {where}; {gigabytes(plan.host_bytes * agents)} of RAM while loading"
    else:
        line = f"memory: {each}; {gigabytes(free.ram)} of RAM available"
    beside = plan.reference_bytes if with_reference else 0
    return Fit(line, _problem(plan, free, agents, beside), _doubt(plan, free, agents, beside))


def _problem(plan: MemoryPlan, free: Available, agents: int, beside: int) -> str:
    if plan.has_own_memory and free.device is not None:
        found = plan.problems(free.device)
        if found:
            return found[0]
    need = plan.least_host_bytes * agents + (0 if plan.has_own_memory else beside)
    if need > free.ram:
        what = _what(agents, 0 if plan.has_own_memory else beside)
        advice = "use accuracy=none, fewer device_ids, or end other programs"
        if plan.has_own_memory:
            advice = "end other programs"
        elif plan.least_host_bytes > free.ram:
            advice = plan.advice(free.ram - (plan.least_host_bytes - plan.device_bytes))
        return f"{what} at least {gigabytes(need)} of RAM, {gigabytes(free.ram)} are available: {advice}"
    if free.shm is not None and plan.shm_bytes * agents > free.shm:
        return (
            f"/dev/shm needs {gigabytes(plan.shm_bytes * agents)}, {gigabytes(free.shm)} are available: "
            "lower serving.batch.decode, serving.prefill.max_tokens or model.seq_length"
        )
    return ""


def _doubt(plan: MemoryPlan, free: Available, agents: int, beside: int) -> str:
    if plan.has_own_memory:
        if beside and free.device is not None and plan.device_bytes + plan.weights_bytes > free.device:
            return (
                "the independent reference loads the weights a second time onto the same device, which may not hold "
                "both: accuracy.reference=baseline needs no second copy"
            )
        return ""
    need = plan.host_bytes * agents + beside
    if need > free.ram:
        return (
            f"{_what(agents, beside)} up to {gigabytes(need)} of RAM, {gigabytes(free.ram)} are available: it may be "
            "killed"
        )
    return ""


def _what(agents: int, beside: int) -> str:
    agent = "the agent" if agents == 1 else f"the {agents} agents"
    return f"{agent} and the reference need" if beside else f"{agent} {'needs' if agents == 1 else 'need'}"


def require(stack: StackConfig, with_reference: bool, say: Callable[[str], None]) -> bool:
    """Say what the model will take, and warn if that may be too much; False while its shape is not known.

    Raises DoesNotFit, in one line, if this machine cannot hold it.
    """
    shape = known_shape(stack)
    if shape is None:
        return False
    found = fit(stack, plan_for(stack, shape), available(stack), with_reference)
    say(found.line)
    if found.problem:
        raise DoesNotFit(found.problem)
    if found.doubt:
        say(f"warning: {found.doubt}")
    return True


def free_ram_bytes() -> int:
    """What is free now, of the machine or of the container if that is less."""
    return min(psutil.virtual_memory().available, _cgroup_free_bytes())


def _cgroup_free_bytes() -> int:
    """What a container's limit leaves; a very large number where there is none."""
    try:
        limit, used = ((_CGROUP / name).read_text().strip() for name in ("memory.max", "memory.current"))
    except OSError:
        return 1 << 62
    return int(limit) - int(used) if limit.isdigit() else 1 << 62
