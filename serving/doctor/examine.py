"""Gathers the facts for a configuration and judges them."""

from __future__ import annotations

import os
from pathlib import Path

from serving.config import StackConfig
from serving.doctor import check_ascend, check_machine, check_python, probe_ascend, probe_machine, probe_python
from serving.doctor.facts import Facts
from serving.doctor.finding import Finding
from serving.doctor.report import Report
from serving.link.layout import Shapes, segment_bytes
from serving.memory.fit import SHAPED
from serving.memory.plan import MemoryPlan, plan_for

_LARGEST_VOCAB = 131_072  # for models whose own is not known before they are loaded


def examine(stack: StackConfig, outputs: Path) -> Report:
    """Look at this machine, with this environment. `outputs` is where run folders go. Raises nothing."""
    return judge(stack, gather(stack, outputs))


def gather(stack: StackConfig, outputs: Path) -> Facts:
    """Probe everything the configuration needs."""
    folders = {"outputs": outputs, "cache": Path(stack.cache_dir)}
    is_ascend = stack.device.target == "Ascend"
    return Facts(
        python=probe_python.probe(),
        machine=probe_machine.probe(stack, folders),
        ascend=probe_ascend.probe(stack.serving.agent.device_ids, os.environ) if is_ascend else None,
    )


def judge(stack: StackConfig, facts: Facts) -> Report:
    """Pure: the findings that these facts give."""
    plan = _plan(stack)
    vocab_size = stack.model.shape.vocab_size if plan else _LARGEST_VOCAB
    shm_bytes = segment_bytes(Shapes.from_stack(stack), vocab_size)
    findings: list[Finding] = [
        *check_python.check(facts.python),
        *check_machine.check(stack, facts.machine, plan, shm_bytes),
    ]
    if facts.ascend is not None:
        findings += check_ascend.check(stack, facts.python, facts.ascend, plan)
    return Report(stack.model.name, stack.device.name, stack.device.target, findings)


def _plan(stack: StackConfig) -> MemoryPlan | None:
    return plan_for(stack, stack.model.shape) if stack.model.source in SHAPED else None
