"""What the probes gather: plain values, so that checks can be tested with made-up ones. None = could not be told."""

from __future__ import annotations

from dataclasses import dataclass, field

from serving.doctor.npu_smi import NpuSmi


@dataclass
class PythonFacts:
    """The interpreter and what is installed for it."""

    version: str = ""  # such as 3.11.7
    machine: str = ""  # such as aarch64
    installed: dict[str, str] = field(default_factory=dict)  # distribution, normalised name -> version
    locked: dict[str, str] = field(default_factory=dict)  # what requirements.lock wants here
    has_ascend_plugin: bool = False  # MindSpore's wheel carries its Ascend back end


@dataclass
class MachineFacts:
    """The host."""

    num_cpus: int = 0
    ram_available_bytes: int = 0  # of the machine, or of the container if that is less
    absent_files: list[str] = field(default_factory=list)  # that the model was to be read from
    disk_free_bytes: dict[str, int] = field(default_factory=dict)  # what it is for -> free
    shm_free_bytes: int | None = None
    port_error: str = ""  # why serving.http.port cannot be listened on; "" = it can
    max_files: int = 0  # hard limit of open file descriptors; the front end raises the soft one to it
    clock_source: str | None = None
    governors: list[str] = field(default_factory=list)  # of every CPU that has one


@dataclass
class AscendFacts:
    """Driver, CANN and NPUs. Gathered from documented places; not verified on device."""

    npu_smi_path: str | None = None
    npu_smi: NpuSmi | None = None  # None = the tool is missing or failed, see npu_smi_error
    npu_smi_error: str = ""
    driver_version: str | None = None  # of the version file
    firmware_version: str | None = None
    cann_home: str | None = None  # the folder that CANN was found in
    cann_version: str | None = None
    cann_ops_version: str | None = None
    unset_variables: list[str] = field(default_factory=list)  # of those that MindSpore looks at
    unusable_nodes: list[str] = field(default_factory=list)  # device nodes that are absent or not ours to open


@dataclass
class Facts:
    """All of it. `ascend` is None where the configuration does not ask for an NPU."""

    python: PythonFacts = field(default_factory=PythonFacts)
    machine: MachineFacts = field(default_factory=MachineFacts)
    ascend: AscendFacts | None = None
