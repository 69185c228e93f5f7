"""What each side gets of the configuration."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from cli import secrets
from conf.schema import PlumblineConfig
from harness.config import HarnessConfig
from harness.tracking.tracked_run import flatten
from serving.config import StackConfig, cache_dir


def stack_config(config: PlumblineConfig, run_dir: Path) -> StackConfig:
    """The part of the configuration that the serving processes get."""
    return StackConfig(config.serving, config.model, config.device, str(run_dir.resolve()), str(cache_dir()))


def harness_config(config: PlumblineConfig) -> HarnessConfig:
    """The part of the configuration that the harness gets."""
    return HarnessConfig(config.workload, config.accuracy, config.tracking)


def shown_params(config: PlumblineConfig) -> dict[str, str]:
    """The whole configuration as flat parameters, without secrets."""
    return secrets.redacted(flatten(dataclasses.asdict(config)))
