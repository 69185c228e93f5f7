"""Sweeps: a folder to work in, each variant in its place, an end.

A grid runs here, one variant after the other, each as it was composed and checked. Hydra starts the variants where
they run in other processes or where a search chooses them: it then composes each anew from the same overrides.
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

from cli import compose
from cli.check import Job
from cli.compose import ConfigError, Engines
from cli.configs import shown_params
from cli.job import run_info, start_job
from conf.schema import PlumblineConfig
from harness.run.environment import git
from harness.run.info import RunInfo, config_digest
from harness.run.run import EXIT_INTERRUPTED
from harness.sweep import parent_watch, reservation, session, slurm
from harness.sweep import plan as plans
from harness.sweep.conclude import conclude
from harness.sweep.plan import PlannedVariant, SweepPlan
from harness.sweep.session import Place
from harness.tracking.tracker import tracker_for

ROOT = Path(__file__).parents[1]


@dataclass
class Sweep:
    """A sweep whose folder is chosen and whose plan is kept in it."""

    folder: Path
    overrides: list[str]  # as typed, with all values of what varies
    config: PlumblineConfig  # any variant's: of names, folders and tracking, which they share
    engines: Engines
    console: Console

    def run(self, jobs: list[Job], ask_hydra: Callable[[list[str]], Any]) -> int:
        """Run all variants, then report; returns the worst exit status, or that of an interruption."""
        self._cancel_jobs()  # of an earlier attempt that was killed
        try:
            if self.engines.serial and self.engines.grid:
                for number, job in enumerate(jobs):
                    place = Place(self.folder, self.folder / str(number), number)
                    run_variant(place, job, self.engines, self.console)
            else:
                self._run_by_hydra(ask_hydra)
        except KeyboardInterrupt:
            parent_watch.stop_variants()
            self._cancel_jobs()
            self._conclude(interrupted=True)
            return EXIT_INTERRUPTED
        except Exception as error:  # of a launcher or sweeper: a variant's own are recorded, not raised
            self._cancel_jobs()
            self._conclude(interrupted=True)
            self.console.print(f"error: the sweep ended early: {error}".splitlines()[0], markup=False, soft_wrap=True)
            return session.EXIT_CRASHED
        return self._conclude(interrupted=False)

    def _run_by_hydra(self, ask_hydra: Callable[[list[str]], Any]) -> None:
        os.environ["HYDRA_FULL_ERROR"] = "1"  # else Hydra prints a launcher's error with its traceback and exits
        elsewhere = contextlib.nullcontext() if self.engines.serial else session.watched(self.folder, self.console)
        with elsewhere:
            ask_hydra(["-m", *self.overrides, f"hydra.sweep.dir={compose.quoted(self.folder)}"])

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


def begin(jobs: list[Job], overrides: list[str], console: Console) -> Sweep:
    """Choose the sweep's folder: that of the same sweep if it was interrupted, else a new one.

    Raises ConfigError where variants that run at once would be in each other's way.
    """
    engines, config = compose.engines(overrides), jobs[0].config
    if not engines.serial:
        _check_apart(config)
    if engines.local and not engines.serial:
        os.environ[parent_watch.PID_VARIABLE] = str(os.getpid())
    if engines.grid:
        knobs = plans.swept_keys([job.overrides for job in jobs])
        planned = [_planned(job) for job in jobs]
    else:
        knobs, planned = compose.varied_keys(overrides), []
    folder = Path(config.outputs_dir).resolve() / config.name
    plan = SweepPlan(config.name, planned, " ".join(git(ROOT).values()), knobs=knobs)
    return Sweep(session.begin(folder, plan, config.resume, console), overrides, config, engines, console)


def variant_name(sweep_dir: Path, overrides: list[str]) -> str:
    """What makes this job a variant, in short; all that was typed if the sweep has no plan."""
    plan = plans.load(sweep_dir)
    return (plans.variant_name(overrides, plan.knobs) if plan else "") or " ".join(overrides)


def run_variant(place: Place, job: Job, engines: Engines, console: Console) -> float | tuple[float, ...] | None:
    """Run one variant in its place, with devices of its own; returns what a search optimises, None if it failed."""
    place.run_dir.mkdir(parents=True, exist_ok=True)
    info = run_info(job.config, place.run_dir, place.sweep_dir, variant_name(place.sweep_dir, job.overrides))
    if not engines.serial:
        parent_watch.interrupt_with_parent()
    planned = PlannedVariant(job.overrides, info.config_digest)
    with contextlib.ExitStack() as held:
        if engines.local and not engines.serial:
            job = dataclasses.replace(job, config=_with_devices(job.config, place.sweep_dir, held, console))
        result = session.run_variant(
            place, planned, job.config.resume, console, lambda: _start_checked(place, planned, job, info, console)
        )
    return session.objective(result, place.run_dir, job.config.sweep.objectives)


def _start_checked(place: Place, planned: PlannedVariant, job: Job, info: RunInfo, console: Console) -> int:
    """Run it only if it is what was checked: another process composes anew, where files may have changed since."""
    plan = plans.load(place.sweep_dir)
    if plan and plan.variants and planned.digest not in plan.digests:
        raise ConfigError("the configuration is no longer the one that was checked when the sweep began")
    return start_job(job, info, console)


def _planned(job: Job) -> PlannedVariant:
    load_s = sum(schedule.floor_s for schedule in job.work.schedules.values())
    return PlannedVariant(job.overrides, config_digest(shown_params(job.config)), load_s)


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
