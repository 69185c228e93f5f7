"""What the probes read: npu-smi's printed examples, version files, a lock file, an installation made of files."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.config import StackConfig
from serving.doctor import npu_smi, probe_ascend, probe_machine, probe_python
from serving.doctor.npu_smi import Npu
from serving.doctor.version_file import series, version_in

# In the layouts of the sources named in serving/doctor/npu_smi.py, with figures of our own.
ONE_CHIP = """
+------------------------------------------------------------------------------------------------+
| npu-smi 25.2.0                   Version: 25.2.0                                               |
+---------------------------+---------------+----------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip                      | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 0     910B4               | OK            | 91.3        33                0    / 0             |
| 0                         | 0000:C1:00.0  | 0           0    / 0          2880 / 32768         |
+===========================+===============+====================================================+
| 3     910B4               | Warning       | 88.1        32                0    / 0             |
| 0                         | 0000:01:00.0  | 0           0    / 0          30000/ 32768         |
+===========================+===============+====================================================+
+---------------------------+---------------+----------------------------------------------------+
| NPU     Chip              | Process id    | Process name             | Process memory(MB)      |
+===========================+===============+====================================================+
| No running processes found in NPU 0                                                            |
| 3       0                 | 4711          | python                   | 27000                   |
"""
TWO_CHIPS = """
| npu-smi 26.0.rc2                            Version: 26.0.rc2                                  |
| NPU   Name                | Health        | Power(W)             Temp(C)    Hugepages-Usage(page)   |
| Chip  Phy-ID              | Bus-Id        | AICore(%)            Memory-Usage(MB)        HBM-Usage(MB) |
| 0     Ascend910           | OK            | 162.6                34         0    / 0                |
| 0     0                   | 0000:9D:00.0  | 0                    0    / 0                3419 / 65536 |
| 0     Ascend910           | OK            | -                    34         0    / 0                |
| 1     1                   | 0000:9F:00.0  | 0                    0    / 0                2874 / 65536 |
"""
NO_HBM = """
| npu-smi 23.0.rc3                                   Version: 23.0.rc3                                   |
| 0       310B1                 | OK              | 10.4          66                15    / 15           |
| 0       0                     | NA              | 0            957   / 10810                           |
"""


def test_npu_smi_names_every_chip_and_no_process() -> None:
    told = npu_smi.parse(ONE_CHIP)
    assert told.driver_version == "25.2.0"
    assert told.npus == [Npu(0, "910B4", "OK", 2880, 32768), Npu(3, "910B4", "Warning", 30000, 32768)]


def test_npu_smi_with_two_chips_per_npu_and_without_hbm() -> None:
    assert [npu.memory_used_mb for npu in npu_smi.parse(TWO_CHIPS).npus] == [3419, 2874]
    assert npu_smi.parse(TWO_CHIPS).driver_version == "26.0.rc2"
    assert npu_smi.parse(NO_HBM).npus == [Npu(0, "310B1", "OK", 957, 10810)]


@pytest.mark.parametrize("output", ["", "DrvMngGetConsoleLogLevel failed.", "| a | b | c |\n| 0 910B4 | OK | x |\n"])
def test_npu_smi_that_is_not_understood_gives_no_chips(output: str) -> None:
    assert npu_smi.parse(output).npus == []


def test_version_files() -> None:
    assert version_in("Version=24.1.rc3.b999\nascendhal_version=7.35.23\npackage_version=24.1\n") == "24.1.rc3.b999"
    assert version_in("package_name=Ascend-cann-toolkit\nversion=9.0.0\ninnerversion=V1\n") == "9.0.0"
    assert version_in("innerversion=V1\n") is None
    assert [series(version) for version in ("26.0.RC1", "24.1.rc3.b999", "unknown")] == ["26.0", "24.1", None]


def test_lock_pins_with_markers() -> None:
    text = (
        "# comment\n--index-url x\n"
        "PyYAML==6.0.3 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"
        'colorama==0.4.6 ; sys_platform == "win32" \\\n    --hash=sha256:cc\n'
        'uvloop==0.22.1 ; sys_platform != "win32" \\\n    --hash=sha256:dd\n'
    )
    assert dict(probe_python.locked(text)) == {"pyyaml": "6.0.3", "uvloop": "0.22.1"}


def test_this_environment_is_what_the_lock_wants() -> None:
    facts = probe_python.probe()
    assert facts.locked["mindspore"] == facts.installed["mindspore"]
    assert len(facts.locked) > 100


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_an_installation_made_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    ascend, dev, tools = tmp_path / "Ascend", tmp_path / "dev", tmp_path / "bin"
    write(ascend / "driver/version.info", "Version=26.0.rc1\n")
    write(ascend / "firmware/version.info", "Version=7.8.0\n")
    write(ascend / "cann/aarch64-linux/ascend_toolkit_install.info", "version=9.0.0\n")
    write(ascend / "cann/aarch64-linux/ascend_ops_install.info", "version=9.0.0\n")
    for name in ("davinci0", "davinci_manager", "devmm_svm"):
        write(dev / name, "")
    write(tools / "npu-smi", f"#!/bin/sh\n[ \"$1\" = info ] && cat <<'END'\n{ONE_CHIP}\nEND\n")
    (tools / "npu-smi").chmod(0o755)
    environment = {"PATH": f"{tools}:/bin:/usr/bin", "ASCEND_OPP_PATH": str(ascend / "cann/opp"), "HOME": str(tmp_path)}
    facts = probe_ascend.probe([0], environment, ascend, dev)
    assert (facts.driver_version, facts.firmware_version) == ("26.0.rc1", "7.8.0")
    assert (facts.cann_home, facts.cann_version, facts.cann_ops_version) == (str(ascend / "cann"), "9.0.0", "9.0.0")
    assert facts.npu_smi is not None and len(facts.npu_smi.npus) == 2
    assert facts.unset_variables == ["ASCEND_HOME_PATH", "PYTHONPATH", "LD_LIBRARY_PATH"]
    assert facts.unusable_nodes == [str(dev / "hisi_hdc")]


def test_a_tool_that_fails_is_told_with_its_own_words(tmp_path: Path) -> None:
    write(tmp_path / "npu-smi", "#!/bin/sh\necho dcmi model initialized failed >&2; exit 1\n")
    (tmp_path / "npu-smi").chmod(0o755)
    facts = probe_ascend.probe([0], {"PATH": f"{tmp_path}:/bin"}, tmp_path / "none", tmp_path)
    assert facts.npu_smi is None and facts.npu_smi_error.endswith("failed: dcmi model initialized failed")
    assert facts.cann_home is None and facts.cann_version is None and facts.driver_version is None


def test_this_machine(tmp_path: Path) -> None:
    stack = StackConfig()
    stack.model.tokenizer = str(tmp_path / "absent.model")
    facts = probe_machine.probe(stack, {"outputs": tmp_path / "not" / "yet"})
    assert facts.ram_available_bytes > 0 and facts.disk_free_bytes["outputs"] > 0 and facts.max_files > 0
    assert facts.absent_files == [stack.model.tokenizer]
    assert facts.port_error == ""
