"""What a load run is: the plan, and the file by which the workers get it. It sends nothing."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson

from harness.config import ArrivalProcess, ClientProtocol, WorkloadConfig
from harness.load.arrivals import Schedule
from harness.load.prompts import Prompt
from harness.load.protocols import RequestOptions
from harness.server import Server


@dataclass
class LoadPlan:
    """Everything about one timed window. len(prompts) == schedule.count; prompt i is sent at schedule.offsets_s[i]."""

    url: str
    options: RequestOptions
    prompts: list[Prompt]
    schedule: Schedule
    timeout_s: float = 600.0  # from the scheduled time
    num_workers: int = 0  # 0 = as many as the rate needs
    connections_ahead: int = 32  # idle connections kept open ahead of need
    max_connections: int = 0  # 0 = no cap


# What one worker process sustains with reads lagging well under a millisecond (make bench-fidelity).
_EVENTS_PER_S_PER_WORKER = 10_000
_REQUESTS_PER_S_PER_WORKER = 1_000


def num_workers_for(schedule: Schedule, mean_output_tokens: float, num_cpus: int) -> int:
    """Fewest processes that keep up with the schedule's rate, at one event per output token; at most one per CPU."""
    rate = schedule.rate
    if not np.isfinite(rate):
        return 1
    share = max(rate / _REQUESTS_PER_S_PER_WORKER, rate * mean_output_tokens / _EVENTS_PER_S_PER_WORKER)
    return max(1, min(int(np.ceil(share)), num_cpus, schedule.count))


def write_plan(plan: LoadPlan, spool_dir: Path) -> None:
    """Write the plan for the workers; mode 0600, since it holds the API key."""
    schedule = plan.schedule
    content = {
        "url": plan.url,
        "options": dataclasses.asdict(plan.options),
        "prompts": [dataclasses.asdict(prompt) for prompt in plan.prompts],
        "schedule": {**dataclasses.asdict(schedule), "offsets_s": schedule.offsets_s.tolist()},
        "timeout_s": plan.timeout_s,
        "num_workers": plan.num_workers,
        "connections_ahead": plan.connections_ahead,
        "max_connections": plan.max_connections,
    }
    path = spool_dir / "plan.json"
    path.touch(mode=0o600)
    path.write_bytes(orjson.dumps(content))


def read_plan(spool_dir: Path) -> LoadPlan:
    """Read what write_plan wrote."""
    content = orjson.loads((spool_dir / "plan.json").read_bytes())
    options, schedule = content.pop("options"), content.pop("schedule")
    return LoadPlan(
        **{
            **content,
            "options": RequestOptions(**{**options, "protocol": ClientProtocol(options["protocol"])}),
            "prompts": [Prompt(**prompt) for prompt in content["prompts"]],
            "schedule": Schedule(
                **{
                    **schedule,
                    "process": ArrivalProcess(schedule["process"]),
                    "offsets_s": np.asarray(schedule["offsets_s"], dtype=np.float64),
                }
            ),
        }
    )


def spool_path(spool_dir: Path, worker: int) -> Path:
    """Where a worker writes the raw account of its requests."""
    return spool_dir / f"worker-{worker}.frames"


def request_options(workload: WorkloadConfig, server: Server) -> RequestOptions:
    """What every request of a run has in common."""
    own = server.captured_dir is not None
    return RequestOptions(
        protocol=workload.protocol,
        model_name=server.model_name,
        ignore_eos=workload.ignore_eos,
        server_timings=own,
        api_key=server.api_key,
    )
