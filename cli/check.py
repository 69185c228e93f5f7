"""Finds, before anything starts, all that can be known to be wrong with a run or with any variant of a sweep."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from cli import acceptance, combinations, compose
from cli.compose import Composed, ConfigError
from cli.configs import harness_config, stack_config
from conf.schema import PlumblineConfig
from harness.run import preflight
from harness.run.work import Work
from harness.tracking.tracker import open_tracker
from serving import validate


@dataclass(frozen=True)
class Job:
    """One run or one variant of a sweep, with nothing known to be wrong: what is run is this."""

    overrides: list[str]
    composed: DictConfig  # as Hydra made it: what config.yaml keeps
    config: PlumblineConfig
    work: Work


def check(overrides: list[str], multirun: bool) -> list[Job]:
    """Every job. Raises ConfigError or TrackingUnavailable for anything that is known to be wrong."""
    jobs = [checked(compose.compose_job(job_overrides)) for job_overrides in compose.variants(overrides, multirun)]
    for store in {job.config.tracking.uri: job.config for job in jobs}.values():
        open_tracker(store.tracking, Path(store.outputs_dir))
    return jobs


def checked(composed: Composed) -> Job:
    """The job of a configuration. Raises ConfigError: one line per mistake, full key, value, what is allowed."""
    config = composed.config
    external_url = config.serving.url if config.serving.external else None
    found = combinations.problems(config) + acceptance.problems(config)
    work, unworkable = preflight.plan(harness_config(config), external_url)
    found += unworkable
    if external_url is None:
        found += validate.problems(stack_config(config, Path.cwd()))
    if found or work is None:
        raise ConfigError("\nerror: ".join(found))
    return Job(composed.overrides, composed.composed, config, work)
