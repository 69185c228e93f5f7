"""Reads what `npu-smi info` prints. Not verified on device: written from printed examples, never run on an NPU.

Examples: Huawei's manual (https://www.hiascend.com/document/detail/zh/Atlas%20200I%20A2/2520/re/npu/npusmi_007.html),
a 910B4-1 with driver 25.2.0 (https://github.com/Project-HAMi/HAMi-WebUI/issues/47), two chips per NPU with driver
26.0.rc2 (https://github.com/vllm-project/vllm-ascend/issues/12980). Each chip has two rows of three cells:

    | 0     910B4-1             | OK            | 91.3        33                0    / 0             |
    | 0                         | 0000:xx:00.0  | 0           0    / 0          3197 / 65536         |
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_VERSION = re.compile(r"\bVersion:\s*(\S+)")
_USAGE = re.compile(r"(\d+)\s*/\s*(\d+)")
_FIRST_ROW = re.compile(r"^(\d+)\s+(\S+)$")
_SECOND_ROW = re.compile(r"^\d+(\s+\d+)?$")


@dataclass(frozen=True, slots=True)
class Npu:
    """One chip. Memory is HBM in the tool's MB (MiB); the last usage of its second row."""

    npu_id: int
    name: str  # such as 910B4
    health: str  # OK, Warning, Alarm, Critical or UNKNOWN
    memory_used_mb: int
    memory_total_mb: int


@dataclass(frozen=True, slots=True)
class NpuSmi:
    """The driver's version and every chip, in the tool's order."""

    driver_version: str  # "" = not told
    npus: list[Npu]


def parse(output: str) -> NpuSmi:
    """What the tool said. Rows that are not understood are left out: a new layout gives fewer chips, not wrong ones."""
    version = _VERSION.search(output)
    npus: list[Npu] = []
    first: tuple[int, str, str] | None = None
    for line in output.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) != 3 or not line.strip().startswith("|"):
            continue
        name = _FIRST_ROW.match(cells[0])
        usages = _USAGE.findall(cells[2])
        if first is not None and _SECOND_ROW.match(cells[0]) and usages:
            used, total = usages[-1]
            npus.append(Npu(*first, int(used), int(total)))
            first = None
        elif name:
            first = int(name.group(1)), name.group(2), cells[1]
    return NpuSmi(version.group(1) if version else "", npus)
