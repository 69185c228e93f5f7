"""What a run is called and what it runs on: facts the harness passes on and does not look into."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from pathlib import Path

# Parameters that change where results go, not what is measured.
_NOT_MEASURED = ("name", "outputs_dir", "tracking.", "sweep.", "acceptance.", "resume")


@dataclass
class RunInfo:
    """One run's identity."""

    name: str
    title: str  # such as "smollm2-135m-instruct on cpu"
    run_dir: Path
    params: dict[str, str]  # flattened configuration
    device: str
    served_dtype: str
    npu_ids: list[int]  # devices whose load npu-smi tells; empty where there are none
    batch_size: int  # most sequences the server decodes together
    sweep_dir: Path | None = None  # of the multirun this is a variant of
    variant: str = ""  # the overrides that make it one
    started_ms: int = field(default_factory=lambda: round(time.time() * 1e3))  # Unix epoch

    @property
    def config_digest(self) -> str:
        """sha256 over all parameters that can change a measurement; equal digest = same configuration."""
        return config_digest(self.params)


def config_digest(params: dict[str, str]) -> str:
    """sha256 of flattened parameters, as `RunInfo.config_digest`."""
    relevant = sorted((key, value) for key, value in params.items() if not key.startswith(_NOT_MEASURED))
    return hashlib.sha256(repr(relevant).encode()).hexdigest()
