"""Judges the host: room, limits, and what makes measured times doubtful. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from serving.config import StackConfig
from serving.doctor.facts import MachineFacts
from serving.doctor.finding import Finding, missing, ok, warning
from serving.memory.plan import MemoryPlan, gigabytes
from serving.validate import problems

# Fine grained and cheap to read: x86's time stamp counter, its paravirtual forms, ARM's architected timer.
GOOD_CLOCKS = ("tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter")
_UNSET = ("model.path=:", "model.tokenizer=:")
DISK_LEAST_BYTES = 1_000_000_000
DISK_WANTED_BYTES = 5_000_000_000
RAM_LEAST_BYTES = 1_000_000_000  # MindSpore alone takes half of it
FILES_BESIDES_CONNECTIONS = 200  # libraries, logs, pipes, the link


def check(stack: StackConfig, facts: MachineFacts, plan: MemoryPlan | None, shm_bytes: int) -> Iterator[Finding]:
    """plan: of the model, if its shape is known beforehand; shm_bytes: of one agent's step areas."""
    yield _model_files(stack, facts)
    yield _ram(facts, plan)
    for purpose, free in facts.disk_free_bytes.items():
        yield _disk(purpose, free)
    yield _shm(facts, shm_bytes * len(stack.serving.agent.device_ids))
    yield _port(stack, facts)
    yield _files(stack, facts)
    yield _clock(facts)
    yield _governor(facts)


def unset_files(stack: StackConfig) -> list[str]:
    """What is wrong with the configuration only because the model's files were not named."""
    return [line for line in problems(stack) if line.startswith(_UNSET)]


def _model_files(stack: StackConfig, facts: MachineFacts) -> Finding:
    model = stack.model
    if unset := unset_files(stack):
        return missing("model files", "; ".join(unset), "model.path=FILE_OR_FOLDER, model.tokenizer=FILE")
    if facts.absent_files:
        return missing(
            "model files", f"no such file: {', '.join(facts.absent_files)}", "correct model.path or .tokenizer"
        )
    return ok("model files", model.path or f"none needed beforehand (model.source={model.source})")


def _ram(facts: MachineFacts, plan: MemoryPlan | None) -> Finding:
    free, need = facts.ram_available_bytes, plan.host_bytes if plan else RAM_LEAST_BYTES
    found = f"{gigabytes(free)} available" + (f", {gigabytes(need)} needed" if plan else "")
    if free < need:
        keys = "lower serving.cache.num_blocks, device.dtype or model.shape.num_layers" if plan else "a larger machine"
        return missing("RAM", found, f"end other programs, or {keys}")
    return ok("RAM", found)


def _disk(purpose: str, free: int) -> Finding:
    found = f"{gigabytes(free)} free"
    place = "PLUMBLINE_CACHE_DIR=FOLDER" if purpose == "cache" else "outputs_dir=FOLDER"
    if free < DISK_LEAST_BYTES:
        need = f"{found}, {gigabytes(DISK_LEAST_BYTES)} needed"
        return missing(f"disk ({purpose})", need, f"free space, or {place}")
    if free < DISK_WANTED_BYTES:
        return warning(f"disk ({purpose})", found, f"free space, or {place}")
    return ok(f"disk ({purpose})", found)


def _shm(facts: MachineFacts, need: int) -> Finding:
    if facts.shm_free_bytes is None:
        return missing("/dev/shm", "not there", "mount a tmpfs on /dev/shm; in a container: --shm-size=1g")
    found = f"{gigabytes(facts.shm_free_bytes)} free, {gigabytes(need)} needed"
    if facts.shm_free_bytes < need:
        return missing("/dev/shm", found, "mount -o remount,size=4G /dev/shm; in a container: --shm-size=4g")
    return ok("/dev/shm", found)


def _port(stack: StackConfig, facts: MachineFacts) -> Finding:
    http = stack.serving.http
    if facts.port_error:
        return missing("port", facts.port_error, "serving.http.port=0 takes any free one")
    return ok("port", f"{http.host}:{http.port} is free" if http.port else f"any free one on {http.host}")


def _files(stack: StackConfig, facts: MachineFacts) -> Finding:
    need = stack.serving.queue.max_requests + FILES_BESIDES_CONNECTIONS
    found = f"{facts.max_files:,} (hard limit), {need:,} for a full queue"
    if facts.max_files < need:
        mend = f"ulimit -Hn {need} as root, LimitNOFILE={need} in a unit, or lower serving.queue.max_requests"
        return warning("open files", found, mend)
    return ok("open files", found)


def _clock(facts: MachineFacts) -> Finding:
    if facts.clock_source is None:
        return warning("clock source", "cannot be read", "cat /sys/devices/system/clocksource/clocksource0/*")
    if facts.clock_source not in GOOD_CLOCKS:
        mend = f"boot with clocksource=tsc if the CPU has one; known to be good: {', '.join(GOOD_CLOCKS)}"
        return warning("clock source", f"{facts.clock_source}: reading it is slow or coarse", mend)
    return ok("clock source", facts.clock_source)


def _governor(facts: MachineFacts) -> Finding:
    if not facts.governors:
        return ok("CPU governor", f"none to set on {facts.num_cpus} CPUs (a virtual machine, or fixed frequency)")
    slow = sorted({governor for governor in facts.governors if governor != "performance"})
    if slow:
        found = f"{', '.join(slow)}: the clock follows the load, so times depend on what ran before"
        return warning("CPU governor", found, "cpupower frequency-set -g performance (root)")
    return ok("CPU governor", f"performance on {len(facts.governors)} CPUs")
