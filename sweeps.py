"""Sweeps as launch.py sees them: a folder to work in, a variant in its place, an end. It starts no server itself.

Variants run where Hydra's launcher puts them: one after the other in this process, or each in a process of its own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from conf import preflight, secrets
from conf.preflight import ConfigError, Engines
from conf.schema import PlumblineConfig
from harness.load.arrivals import schedules
from harness.run.environment import git
from harness.run.info import RunInfo, config_digest
from harness.run.run import EXIT_INTERRUPTED
from harness.sweep import plan as plans
from harness.sweep import reservation, session, slurm, tether
from harness.sweep.conclude import conclude
from harness.sweep.plan import PlannedVariant, SweepPlan
from harness.tracking.tracked_run import flatten
from harness.tracking.tracker import tracker_for

ROOT = Path(__file__).parent


@dataclass
class Variant:
    """One job of a multirun."""

    overrides: list[str]
    config: PlumblineConfig


@dataclass
class Sweep:
    """A sweep whose folder is chosen and whose plan is kept in it."""

    folder: Path
    config: PlumblineConfig  # any variant's: of names, folders and tracking, which they share
    engines: Engines
    console: Console

    def run(self, job: Callable[[], Any]) -> int:
        """Let Hydra run all jobs, then report; returns the worst exit status, or that of an interruption."""
        serial = self.engines.serial
        self._cancel_jobs()  # of an earlier attempt that was killed
        os.environ["HYDRA_FULL_ERROR"] = "1"  # else Hydra prints a launcher's error with its traceback and exits
        elsewhere = contextlib.nullcontext() if serial else session.watched(self.folder, self.console)
        try:
            with elsewhere:
                job()
        except KeyboardInterrupt:
            tether.stop_variants()
            self._cancel_jobs()
            self._conclude(interrupted=True)
            return EXIT_INTERRUPTED
        except Exception as error:  # of a launcher or sweeper: a variant's own are recorded, not raised
            self._cancel_jobs()
            self._conclude(interrupted=True)
            self.console.print(f"error: the sweep ended early: {error}".splitlines()[0], markup=False, soft_wrap=True)
            return session.EXIT_CRASHED
        return self._conclude(interrupted=False)

    def _cancel_jobs(self) -> None:
        """Leave no job of a cluster behind: nobody waits for it, and it would write where the next attempt does."""
        if self.engines.local:
            return
        try:
            if count := slurm.cancel(self.folder):
                self.console.print(f"sweep: cancelled {count} jobs of Slurm", markup=False)
        except OSError as error:
            self.console.print(f"warning: {error}", style="yellow", markup=False, soft_wrap=True)

    def _conclude(self, interrupted: bool) -> int:
        tracker = tracker_for(self.config.tracking, Path(self.config.outputs_dir))
        return conclude(self.folder, tracker, interrupted, self.console)


def begin(variants: list[Variant], overrides: list[str], console: Console) -> Sweep:
    """Choose the sweep's folder: that of the same sweep if it was interrupted, else a new one.

    Raises ConfigError where variants that run at once would be in each other's way.
    """
    engines, config = preflight.engines(overrides), variants[0].config
    if not engines.serial:
        _check_apart(config)
    if engines.local and not engines.serial:
        os.environ[tether.PID_VARIABLE] = str(os.getpid())
    if engines.grid:
        knobs = plans.swept_keys([variant.overrides for variant in variants])
        planned = [_planned(variant) for variant in variants]
    else:
        knobs, planned = preflight.varied_keys(overrides), []
    folder = Path(config.outputs_dir).resolve() / config.name
    plan = SweepPlan(config.name, planned, " ".join(git(ROOT).values()), knobs=knobs)
    return Sweep(session.begin(folder, plan, config.resume, console), config, engines, console)


def variant_name(sweep_dir: Path, overrides: list[str]) -> str:
    """What makes this job a variant, in short; all that was typed if the sweep has no plan."""
    plan = plans.load(sweep_dir)
    return (plans.variant_name(overrides, plan.knobs) if plan else "") or " ".join(overrides)


def run_variant(
    about: Any, config: PlumblineConfig, info: RunInfo, console: Console, start: Callable[[PlumblineConfig], int]
) -> float | tuple[float, ...] | None:
    """Run one variant in its place, with devices of its own; returns what a search optimises, None if it failed.

    about: Hydra's configuration of this job.
    """
    assert info.sweep_dir is not None
    engines = preflight.engines_of(about)
    place = session.Place(info.sweep_dir, info.run_dir, about.job.num, list(about.overrides.task), info.config_digest)
    if not engines.serial:
        tether.interrupt_with_parent()
    with contextlib.ExitStack() as held:
        if engines.local and not engines.serial:
            config = _with_devices(config, info.sweep_dir, held, console)
        result = session.run_variant(place, config.resume, console, lambda: start(config))
    return session.objective(result, info.run_dir, config.sweep.objectives)


def _planned(variant: Variant) -> PlannedVariant:
    digest = config_digest(secrets.redacted(flatten(dataclasses.asdict(variant.config))))
    load_s = sum(schedule.floor_s for schedule in schedules(variant.config.workload).values())
    return PlannedVariant(variant.overrides, digest, load_s)


def _check_apart(config: PlumblineConfig) -> None:
    port, ids, pool = config.serving.http.port, config.serving.agent.device_ids, config.sweep.device_pool
    if port:
        raise ConfigError(f"serving.http.port={port}: variants that run at once each need a port of their own: 0")
    if len(pool or ids) < len(ids):
        raise ConfigError(f"sweep.device_pool={pool}: must hold at least the {len(ids)} devices of one variant")


def _with_devices(
    config: PlumblineConfig, sweep_dir: Path, held: contextlib.ExitStack, console: Console
) -> PlumblineConfig:
    """The configuration with devices that no other variant of the sweep has until `held` is closed."""
    agent = config.serving.agent
    pool = config.sweep.device_pool or agent.device_ids

    def on_wait() -> None:
        console.print(f"sweep: waiting for {len(agent.device_ids)} of the devices {pool}", markup=False)

    ids = held.enter_context(reservation.reserved(sweep_dir, pool, len(agent.device_ids), on_wait))
    serving = dataclasses.replace(config.serving, agent=dataclasses.replace(agent, device_ids=ids))
    return dataclasses.replace(config, serving=serving)
