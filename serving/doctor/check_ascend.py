"""Judges NPU, driver and CANN against the versions matrix. Pure. NOT VERIFIED ON DEVICE: nobody has run this on one."""

from __future__ import annotations

from collections.abc import Iterator

from serving.config import StackConfig
from serving.doctor import versions
from serving.doctor.facts import AscendFacts, PythonFacts
from serving.doctor.finding import Finding, missing, ok, warning
from serving.doctor.npu_smi import Npu
from serving.doctor.version_file import series
from serving.memory.plan import MemoryPlan, gigabytes

GUIDE = "docs/ascend_setup.md"
_MIB = 1 << 20


def check(stack: StackConfig, python: PythonFacts, facts: AscendFacts, plan: MemoryPlan | None) -> Iterator[Finding]:
    """plan: of the model, if its shape is known beforehand."""
    yield _plugin(python)
    yield _driver(facts)
    yield _nodes(facts)
    yield from _npus(stack, facts, plan)
    yield _cann(facts)
    yield _cann_ops(facts)
    yield _environment(facts)
    yield _cann_packages(python)


def _plugin(python: PythonFacts) -> Finding:
    if python.has_ascend_plugin:
        return ok("MindSpore for Ascend", "the installed wheel carries the Ascend back end")
    mend = f"make setup, on Linux with x86_64 or aarch64 (here: {python.machine}); {GUIDE}"
    return missing("MindSpore for Ascend", "the installed wheel has no Ascend back end", mend)


def _driver(facts: AscendFacts) -> Finding:
    told = facts.npu_smi.driver_version if facts.npu_smi else ""
    version = told or facts.driver_version
    firmware = f", firmware {facts.firmware_version}" if facts.firmware_version else ""
    recommended = _recommended()[2]
    if not version:
        return missing("driver", "none found", f"install driver and firmware {recommended}: {GUIDE}, step 1")
    found = f"{version}{firmware}"
    compatible = versions.HDK_OF_CANN_9_0
    if series(version) == series(recommended):
        return ok("driver", found)
    if series(version) in compatible:
        return ok("driver", f"{found}: compatible with CANN 9.0; {recommended} is the recommended one")
    names = ", ".join(compatible)
    return warning("driver", f"{found}: not in the matrix of CANN 9.0 ({names})", f"install {recommended}: {GUIDE}")


def _nodes(facts: AscendFacts) -> Finding:
    if not facts.unusable_nodes:
        return ok("device nodes", "there, and may be opened")
    mend = "install the driver, join its group (usermod -aG HwHiAiUser USER), in a container pass them with --device"
    return missing("device nodes", f"absent or not to be opened: {', '.join(facts.unusable_nodes)}", mend)


def _npus(stack: StackConfig, facts: AscendFacts, plan: MemoryPlan | None) -> Iterator[Finding]:
    if facts.npu_smi is None:
        found = facts.npu_smi_error or "not on PATH"
        yield missing("npu-smi", found, f"it comes with the driver; add /usr/local/bin to PATH: {GUIDE}, step 1")
        return
    npus = facts.npu_smi.npus
    yield ok("npu-smi", f"{facts.npu_smi_path}: {len(npus)} chips")
    for device_id in stack.serving.agent.device_ids:
        if device_id >= len(npus):
            mend = "serving.agent.device_ids: numbers from 0, in npu-smi's order"
            yield missing(f"NPU {device_id}", f"npu-smi lists {len(npus)} chips", mend)
            continue
        yield _npu(device_id, npus[device_id])
        yield _hbm(stack, device_id, npus[device_id], plan)


def _npu(device_id: int, npu: Npu) -> Finding:
    name, found = f"NPU {device_id}", f"{npu.name}, health {npu.health}"
    if npu.health.upper() != "OK":
        mend = f"npu-smi info -t health -i {npu.npu_id} says why; another device: serving.agent.device_ids=[…]"
        return (missing if npu.health.upper() in ("CRITICAL", "UNKNOWN") else warning)(name, found, mend)
    if versions.CHIP not in npu.name:
        return warning(
            name, found, f"settings are for a {versions.CHIP}: device.max_device_memory may need another value"
        )
    return ok(name, found)


def _hbm(stack: StackConfig, device_id: int, npu: Npu, plan: MemoryPlan | None) -> Finding:
    name = f"HBM {device_id}"
    free = (npu.memory_total_mb - npu.memory_used_mb) * _MIB
    limit = memory_limit_bytes(stack.device.max_device_memory)
    usable = free if limit is None else min(free, limit)
    found = f"{gigabytes(free)} free of {gigabytes(npu.memory_total_mb * _MIB)}"
    if limit is not None and limit > free:
        mend = f"end what runs on it (npu-smi info lists it), or lower device.max_device_memory={_setting(stack)}"
        return missing(name, f"{found}, less than device.max_device_memory={_setting(stack)}", mend)
    if plan is None:
        return ok(name, found)
    problems = plan.problems(usable)
    found = f"{found}, {gigabytes(plan.device_bytes)} needed of {gigabytes(usable)} usable"
    return missing(name, found, problems[0].rpartition(": ")[2]) if problems else ok(name, found)


def _setting(stack: StackConfig) -> str:
    return stack.device.max_device_memory


def memory_limit_bytes(setting: str) -> int | None:
    """device.max_device_memory in bytes ("28GB": MindSpore counts in 1024s); None if it is not set or no size."""
    digits = setting.strip().upper().removesuffix("GB")
    try:
        return round(float(digits) * (1 << 30))
    except ValueError:
        return None


def _cann(facts: AscendFacts) -> Finding:
    recommended = _recommended()[1]
    install = f"install CANN {recommended} toolkit and 910b operators: {GUIDE}, step 2"
    if facts.cann_version is None:
        return missing("CANN", f"{facts.cann_home or 'none found'}: no version file", install)
    found = f"{facts.cann_version} in {facts.cann_home}"
    numbers = series(facts.cann_version)
    if numbers == versions.CANN_COMPILED:
        return ok("CANN", found)
    if numbers in versions.CANN_ACCEPTED:
        return warning("CANN", f"{found}: accepted, but MindSpore's own operators were compiled with 9.0", install)
    accepted = ", ".join(versions.CANN_ACCEPTED)
    return missing("CANN", f"{found}: MindSpore {_recommended()[0]} accepts {accepted}", install)


def _cann_ops(facts: AscendFacts) -> Finding:
    name = "CANN operators"
    install = f"install the operators of the toolkit's version (Ascend-cann-910b-ops): {GUIDE}, step 2"
    if facts.cann_ops_version is None:
        return missing(name, "no version file", install)
    if facts.cann_version is not None and series(facts.cann_ops_version) != series(facts.cann_version):
        return warning(name, f"{facts.cann_ops_version} beside toolkit {facts.cann_version}", install)
    return ok(name, facts.cann_ops_version)


def _environment(facts: AscendFacts) -> Finding:
    if not facts.unset_variables:
        return ok("CANN environment", "set")
    home = facts.cann_home or "/usr/local/Ascend/cann"
    return missing("CANN environment", f"not set: {', '.join(facts.unset_variables)}", f"source {home}/set_env.sh")


def _cann_packages(python: PythonFacts) -> Finding:
    absent = [name for name in versions.CANN_PACKAGES if name not in python.installed]
    if absent:
        return missing("CANN's Python packages", f"not installed: {', '.join(absent)}", "make setup DEVICE=ascend")
    return ok("CANN's Python packages", ", ".join(versions.CANN_PACKAGES))


def _recommended() -> tuple[str, str, str]:
    """MindSpore, CANN and HDK of the newest MindFormers in the matrix."""
    return next(iter(versions.MINDFORMERS.values()))
