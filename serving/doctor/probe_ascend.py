"""Looks for NPUs, driver and CANN where their documentation says they are. NOT VERIFIED ON DEVICE.

Sources of the places: docs/ascend_setup.md, "Where the doctor looks".
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from serving.doctor import npu_smi
from serving.doctor.facts import AscendFacts
from serving.doctor.version_file import version_in

ASCEND = Path("/usr/local/Ascend")
DEV = Path("/dev")
_MANAGERS = ("davinci_manager", "devmm_svm", "hisi_hdc")
_TOOL_S = 30.0
# What MindSpore 2.9.0 looks for in the environment (run_check/_check_version.py): variable -> what it must contain.
_VARIABLES = {
    "ASCEND_HOME_PATH": "",
    "ASCEND_OPP_PATH": "/opp",
    "PYTHONPATH": "opp/built-in/op_impl/ai_core/tbe",
    "LD_LIBRARY_PATH": "/lib64",
}


def probe(device_ids: list[int], environment: Mapping[str, str], ascend: Path = ASCEND, dev: Path = DEV) -> AscendFacts:
    """What is here for these devices. `ascend` is where the vendor's packages go by default."""
    facts = AscendFacts(npu_smi_path=shutil.which("npu-smi", path=environment.get("PATH")))
    if facts.npu_smi_path:
        _ask_npu_smi(facts)
    facts.driver_version = _version_of(ascend / "driver" / "version.info")
    facts.firmware_version = _version_of(ascend / "firmware" / "version.info")
    home = next((place for place in _cann_homes(environment, ascend) if place.is_dir()), None)
    if home is not None:
        system = home / f"{platform.machine()}-linux"
        facts.cann_home = str(home)
        # The first is the manual's, the second is the one that MindSpore reads.
        facts.cann_version = _version_of(system / "ascend_toolkit_install.info", home / "compiler" / "version.info")
        facts.cann_ops_version = _version_of(system / "ascend_ops_install.info")
    facts.unset_variables = [
        name for name, part in _VARIABLES.items() if not environment.get(name) or part not in environment[name]
    ]
    nodes = [dev / name for name in (*(f"davinci{device_id}" for device_id in device_ids), *_MANAGERS)]
    facts.unusable_nodes = [str(node) for node in nodes if not os.access(node, os.R_OK | os.W_OK)]
    return facts


def _cann_homes(environment: Mapping[str, str], ascend: Path) -> list[Path]:
    """Where CANN may be: as set_env.sh says, else the default folders, root's before one's own, newer before older."""
    told = environment.get("ASCEND_HOME_PATH")
    own = Path(environment.get("HOME", "/nonexistent")) / "Ascend"
    defaults = [base / name for base in (ascend, own) for name in ("cann", "ascend-toolkit/latest")]
    return ([Path(told)] if told else []) + defaults


def _ask_npu_smi(facts: AscendFacts) -> None:
    command = [str(facts.npu_smi_path), "info"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_TOOL_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        facts.npu_smi_error = f"{facts.npu_smi_path} info: {error}"
        return
    if answer.returncode != 0:
        said = (answer.stderr or answer.stdout).strip().splitlines()
        facts.npu_smi_error = f"{facts.npu_smi_path} info failed: {said[0] if said else answer.returncode}"
        return
    facts.npu_smi = npu_smi.parse(answer.stdout)


def _version_of(*paths: Path) -> str | None:
    """The version that the first readable file with one tells."""
    for path in paths:
        try:
            version = version_in(path.read_text(errors="replace"))
        except OSError:
            continue
        if version:
            return version
    return None
