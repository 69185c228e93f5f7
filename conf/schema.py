"""The root of the typed configuration. Each part lives beside its consumer; this only joins them."""

from __future__ import annotations

from dataclasses import dataclass, field

from hydra.core.config_store import ConfigStore

from harness.config import AcceptanceConfig, AccuracyConfig, SweepConfig, TrackingConfig, WorkloadConfig
from serving.config import DeviceConfig, ModelConfig, ServingConfig


@dataclass
class PlumblineConfig:
    """One run: a serving stack, a load, a check, and where results go."""

    name: str = "laptop"  # names the folder under outputs_dir
    outputs_dir: str = "outputs"  # run folders, MLflow database and artifacts
    serving: ServingConfig = field(default_factory=ServingConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    device: DeviceConfig = field(default_factory=DeviceConfig)
    workload: WorkloadConfig = field(default_factory=WorkloadConfig)
    accuracy: AccuracyConfig = field(default_factory=AccuracyConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    acceptance: AcceptanceConfig = field(default_factory=AcceptanceConfig)
    sweep: SweepConfig = field(default_factory=SweepConfig)
    resume: bool = True  # a multirun goes on where the same one was interrupted; false = start anew


def register() -> None:
    """Make the schema known to Hydra as config `schema`; safe to call twice."""
    ConfigStore.instance().store(name="schema", node=PlumblineConfig)
