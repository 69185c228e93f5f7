"""Finds, before anything starts, all that can be known to be wrong with a run or with any variant of a sweep."""

from __future__ import annotations

from pathlib import Path

from cli import acceptance, combinations, compose
from cli.compose import ConfigError, Job
from cli.configs import harness_config, stack_config
from conf.schema import PlumblineConfig
from harness.run import preflight
from harness.tracking.tracker import open_tracker
from serving import validate


def check(overrides: list[str], multirun: bool) -> list[Job]:
    """Every job, composed: what is run later is this. Raises ConfigError for anything that is known to be wrong."""
    jobs = [compose.job(job_overrides) for job_overrides in compose.variants(overrides, multirun)]
    for job in jobs:
        if found := problems(job.config):
            raise ConfigError("\nerror: ".join(found))
    for store in {job.config.tracking.uri: job.config for job in jobs}.values():
        open_tracker(store.tracking, Path(store.outputs_dir))
    return jobs


def problems(config: PlumblineConfig) -> list[str]:
    """One line per mistake: full key, value, what is allowed."""
    external_url = config.serving.url if config.serving.external else None
    found = combinations.problems(config) + acceptance.problems(config)
    found += preflight.problems(harness_config(config), external_url)
    if external_url is None:
        found += validate.problems(stack_config(config, Path.cwd()))
    return found
