"""What the doctor concludes from made-up facts: each thing that can be wrong is one line that says how to mend it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from cli.compose import compose_config
from serving.config import StackConfig
from serving.doctor import versions
from serving.doctor.check_ascend import memory_limit_bytes
from serving.doctor.examine import judge
from serving.doctor.facts import AscendFacts, Facts, MachineFacts, PythonFacts
from serving.doctor.finding import Status
from serving.doctor.npu_smi import Npu, NpuSmi
from serving.doctor.report import Report

GB = 10**9


def stack_of(*overrides: str) -> StackConfig:
    config = compose_config(list(overrides))
    return StackConfig(config.serving, config.model, config.device, "", "cache")


def healthy() -> Facts:
    """A machine with one 910B4 on which nothing is wrong."""
    packages = {"mindspore": "2.9.0", "mindformers": "1.9.0", "numpy": "1.26.4"}
    extra = dict.fromkeys(versions.CANN_PACKAGES, "1.0")
    return Facts(
        PythonFacts("3.11.4", "aarch64", packages | extra, packages, has_ascend_plugin=True),
        MachineFacts(
            num_cpus=24,
            ram_available_bytes=64 * GB,
            disk_free_bytes={"outputs": 100 * GB, "cache": 100 * GB},
            shm_free_bytes=8 * GB,
            max_files=1 << 20,
            clock_source="arch_sys_counter",
            governors=["performance"] * 24,
        ),
        AscendFacts(
            npu_smi_path="/usr/local/bin/npu-smi",
            npu_smi=NpuSmi("26.0.rc1", [Npu(0, "910B4", "OK", 2880, 32768)]),
            cann_home="/usr/local/Ascend/cann",
            cann_version="9.0.0",
            cann_ops_version="9.0.0",
        ),
    )


def examined(facts: Facts, *overrides: str) -> Report:
    return judge(
        stack_of(*(overrides or ("device=ascend_910b4", "model=llama2_7b", "model.path=x", "model.tokenizer=y"))), facts
    )


def not_ok(report: Report) -> dict[str, Status]:
    return {finding.name: finding.status for finding in report.findings if finding.status is not Status.ok}


def test_nothing_wrong() -> None:
    report = examined(healthy())
    assert report.passed and not_ok(report) == {}
    assert report.text().splitlines()[-1] == f"ready: {len(report.findings)} ok, 0 warning, 0 missing"
    assert "not verified on device" in report.text() and "not verified on device" in report.as_json()["note"]


def set_python(name: str, value: object) -> Callable[[Facts], None]:
    return lambda facts: setattr(facts.python, name, value)


def set_machine(name: str, value: object) -> Callable[[Facts], None]:
    return lambda facts: setattr(facts.machine, name, value)


def set_ascend(name: str, value: object) -> Callable[[Facts], None]:
    return lambda facts: setattr(facts.ascend, name, value)


def chip(*values: object) -> Callable[[Facts], None]:
    return set_ascend("npu_smi", NpuSmi("26.0.rc1", [Npu(*values)]))  # type: ignore[arg-type]


def install(name: str, version: str) -> Callable[[Facts], None]:
    return lambda facts: facts.python.installed.update({name: version})


def uninstall(name: str) -> Callable[[Facts], None]:
    return lambda facts: facts.python.installed.pop(name) and None


@pytest.mark.parametrize(
    ("change", "name", "status", "part"),
    [
        (set_python("version", "3.12.1"), "python", "missing", "make setup PYTHON="),
        (install("numpy", "1.26.0"), "packages", "warning", "numpy 1.26.0 (locked: 1.26.4)"),
        (uninstall("numpy"), "packages", "missing", "not installed: numpy"),
        (install("mindspore", "2.7.2"), "mindspore and mindformers", "missing", "do not belong together"),
        (install("mindformers", "1.5.0"), "mindspore and mindformers", "warning", "not in the versions matrix"),
        (install("numpy", "2.1.0"), "mindspore and mindformers", "missing", "numpy below 2"),
        (set_python("has_ascend_plugin", False), "MindSpore for Ascend", "missing", "no Ascend back end"),
        (uninstall("decorator"), "CANN's Python packages", "missing", "make setup DEVICE=ascend"),
        (set_machine("ram_available_bytes", 10 * GB), "RAM", "missing", "18.18 GB needed"),
        (set_machine("disk_free_bytes", {"cache": GB // 2}), "disk (cache)", "missing", "PLUMBLINE_CACHE_DIR"),
        (set_machine("disk_free_bytes", {"outputs": 2 * GB}), "disk (outputs)", "warning", "outputs_dir"),
        (set_machine("shm_free_bytes", 1000), "/dev/shm", "missing", "--shm-size"),
        (set_machine("shm_free_bytes", None), "/dev/shm", "missing", "mount a tmpfs"),
        (set_machine("port_error", "cannot listen on 8835"), "port", "missing", "serving.http.port=0"),
        (set_machine("max_files", 1024), "open files", "warning", "ulimit -Hn 4296"),
        (set_machine("clock_source", "hpet"), "clock source", "warning", "slow or coarse"),
        (set_machine("clock_source", None), "clock source", "warning", "cannot be read"),
        (set_machine("governors", ["performance", "powersave"]), "CPU governor", "warning", "cpupower"),
        (set_machine("absent_files", ["x"]), "model files", "missing", "no such file: x"),
        (set_ascend("npu_smi", None), "npu-smi", "missing", "not on PATH"),
        (chip(5, "910B4", "Critical", 0, 32768), "NPU 0", "missing", "npu-smi info -t health -i 5"),
        (chip(0, "910B4", "Warning", 0, 32768), "NPU 0", "warning", "health Warning"),
        (chip(0, "910B3", "OK", 0, 65536), "NPU 0", "warning", "settings are for a 910B4"),
        (chip(0, "910B4", "OK", 20000, 32768), "HBM 0", "missing", "less than device.max_device_memory=28GB"),
        (set_ascend("npu_smi", NpuSmi("26.0.rc1", [])), "NPU 0", "missing", "npu-smi lists 0 chips"),
        (set_ascend("cann_version", None), "CANN", "missing", "no version file"),
        (set_ascend("cann_version", "8.5.0"), "CANN", "warning", "compiled with 9.0"),
        (set_ascend("cann_version", "8.0.RC3"), "CANN", "missing", "accepts 8.2, 8.3, 8.5, 9.0"),
        (set_ascend("cann_ops_version", None), "CANN operators", "missing", "Ascend-cann-910b-ops"),
        (set_ascend("cann_ops_version", "8.5.0"), "CANN operators", "warning", "beside toolkit 9.0.0"),
        (set_ascend("unset_variables", ["PYTHONPATH"]), "CANN environment", "missing", "cann/set_env.sh"),
        (set_ascend("unusable_nodes", ["/dev/davinci0"]), "device nodes", "missing", "HwHiAiUser"),
    ],
)
def test_each_fault_is_one_line_that_says_how_to_mend_it(
    change: Callable[[Facts], None], name: str, status: str, part: str
) -> None:
    facts = healthy()
    change(facts)
    report = examined(facts)
    assert not_ok(report)[name] == status
    (finding,) = [each for each in report.findings if each.name == name and each.status == status]
    assert part in f"{finding.found} {finding.mend}" and finding.mend
    assert report.passed is (status == "warning")
    assert f"{status:<8} {name}" in report.text() and finding.mend in report.text()


@pytest.mark.parametrize(
    ("driver", "status"),
    [("26.0.RC1", "ok"), ("25.5.2", "ok"), ("25.0.rc1.1", "ok"), ("24.1.rc3", "warning"), ("", "missing")],
)
def test_drivers_of_the_matrix(driver: str, status: str) -> None:
    facts = healthy()
    set_ascend("npu_smi", NpuSmi(driver, [Npu(0, "910B4", "OK", 0, 32768)]))(facts)
    assert not_ok(examined(facts)) == ({} if status == "ok" else {"driver": status})


def test_a_model_that_does_not_fit_says_what_to_lower() -> None:
    report = examined(
        healthy(),
        "device=ascend_910b4",
        "model=llama2_7b",
        "model.path=x",
        "model.tokenizer=y",
        "serving.cache.num_blocks=4096",
    )
    (finding,) = [each for each in report.findings if each.name == "HBM 0"]
    assert finding.status is Status.missing and "lower serving.cache.num_blocks from 4,096 to" in finding.mend


def test_for_the_cpu_nobody_asks_for_an_npu() -> None:
    facts = healthy()
    facts.ascend = None
    report = examined(facts, "experiment=smoke")
    assert report.passed and not any("NPU" in finding.name or "CANN" in finding.name for finding in report.findings)
    assert report.as_json()["note"] == ""


def test_a_model_without_a_path_is_a_finding() -> None:
    report = examined(healthy(), "device=ascend_910b4", "model=llama2_7b")
    assert not_ok(report) == {"model files": Status.missing}


def test_memory_limits_are_counted_as_mindspore_does() -> None:
    assert memory_limit_bytes("28GB") == 28 << 30
    assert memory_limit_bytes("") is None


def test_the_document_is_json() -> None:
    document = json.loads(json.dumps(examined(healthy()).as_json()))
    assert document["passed"] is True and document["findings"][0] == {
        "name": "python", "status": "ok", "found": "3.11.4 on aarch64", "mend": "",
    }  # fmt: skip
