"""One run from a configuration to a verdict: its folder, its server, its measurement, its exit status."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from omegaconf import OmegaConf
from rich.console import Console

from cli import acceptance
from cli.check import Job
from cli.compose import ConfigError
from cli.configs import harness_config, shown_params, stack_config
from cli.server import started
from conf.schema import PlumblineConfig
from harness import run_folder, whole_file
from harness.claim import point_latest_at
from harness.load.generator import INTERRUPTED, LoadError
from harness.run.info import RunInfo
from harness.run.run import EXIT_INTERRUPTED, EXIT_SERVER, Run
from harness.server import ServerError
from harness.tracking.errors import TrackingFailed
from harness.tracking.tracker import tracker_for
from serving.memory import fit
from serving.processes.supervisor import ServingError
from serving.tokenizer.tokenizer import TokenizerError

EXIT_BAD_INPUT = 2


def start_job(job: Job, info: RunInfo, console: Console) -> int:
    """Say where the run's folder is, and run it. Raises KeyboardInterrupt when it was interrupted and put away."""
    config = job.config
    with whole_file.writing(info.run_dir / run_folder.CONFIG) as partial:
        OmegaConf.save(job.composed, partial)
    point_latest_at(info.run_dir, Path(config.outputs_dir))
    console.print(f"{config.name} → {info.run_dir} {info.variant}".strip(), markup=False, soft_wrap=True)
    with acceptance.packed(config, stack_config(config, info.run_dir), info, console):
        code = run_job(job, info, console)
    if code == EXIT_INTERRUPTED:
        raise KeyboardInterrupt
    return code


def run_job(job: Job, info: RunInfo, console: Console) -> int:
    """One variant from start to verdict; returns its exit status and leaves no process behind."""
    config = job.config
    tracker = tracker_for(config.tracking, Path(config.outputs_dir))
    run = Run(harness_config(config), job.work, info, tracker, console)
    try:
        # MLflow takes seconds to import: that is done by the time the stack is up, so never beside a timed request.
        with ThreadPoolExecutor(1) as pool:
            warming = pool.submit(tracker.warm) if tracker else None
            with started(config, job.work, info.run_dir, console) as server:
                if warming:
                    warming.exception()  # a store that is gone by now is told of when the run is sent
                return run.measure(server)
    except (ConfigError, TokenizerError, fit.DoesNotFit) as error:
        return run.abandon(str(error), EXIT_BAD_INPUT)
    except (ServingError, ServerError, LoadError, TrackingFailed) as error:
        return run.abandon(str(error), EXIT_SERVER)
    except KeyboardInterrupt:
        return run.abandon(INTERRUPTED, EXIT_INTERRUPTED)
    except Exception as error:
        run.abandon(f"internal error: {type(error).__name__}: {error}".splitlines()[0], EXIT_SERVER)
        raise


def run_info(config: PlumblineConfig, run_dir: Path, sweep_dir: Path | None = None, variant: str = "") -> RunInfo:
    """What the harness needs to know about the configuration it does not look into."""
    return RunInfo(
        name=config.name,
        title=f"{config.model.name} on {config.device.name}",
        run_dir=run_dir,
        params=shown_params(config),
        device=config.device.name,
        served_dtype=config.device.dtype,
        npu_ids=config.serving.agent.device_ids if config.device.target == "Ascend" else [],
        batch_size=config.serving.batch.decode,
        sweep_dir=sweep_dir,
        variant=variant,
    )
