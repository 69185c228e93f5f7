"""Configuration of load, accuracy check and tracking, as plain dataclasses filled by Hydra."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class ArrivalProcess(StrEnum):
    """How send times are drawn."""

    constant = "constant"  # every 1/X seconds
    poisson = "poisson"  # exponential gaps
    gamma = "gamma"  # gamma gaps; burstiness 1 is poisson, below 1 burstier
    ramp = "ramp"  # the rate grows linearly from 0 to X over T, so int(X * T / 2) requests
    trace = "trace"  # send times from a file
    closed = "closed"  # a fixed number of requests in flight; no schedule
    judge = "judge"  # the contest client's nearly constant gaps


class DatasetFormat(StrEnum):
    """Shape of the prompt file."""

    alpaca = "alpaca"  # JSON list of {instruction, input, output}
    sharegpt = "sharegpt"  # JSON list of {conversations: [{from, value}, ...]}
    jsonl = "jsonl"  # one {"prompt": str, optional "max_new_tokens": int} per line
    random_ids = "random_ids"  # random token ids of exact length, no file
    shared_prefix = "shared_prefix"  # random token ids, a common prefix, no file
    synthetic = "synthetic"  # random token ids, prompt and output lengths together from lengths_path


class ClientProtocol(StrEnum):
    """Which wire protocol the load generator speaks."""

    judge = "judge"  # POST /models/llama2/generate_stream, newline-terminated JSON
    completions = "completions"  # OpenAI POST /v1/completions, SSE
    chat = "chat"  # OpenAI POST /v1/chat/completions, SSE


@dataclass
class ArrivalConfig:
    """When requests are sent."""

    process: ArrivalProcess = ArrivalProcess.constant
    rate: float = 2.0  # X, requests per second
    duration_s: float = 30.0  # T; the number of requests is int(X * T)
    seed: int = 0
    burstiness: float = 1.0  # gamma's shape parameter
    concurrency: int = 8  # closed: requests in flight
    trace_path: str = ""  # trace: one send time in seconds per line


@dataclass
class DatasetConfig:
    """What is sent."""

    format: DatasetFormat = DatasetFormat.jsonl
    path: str = "conf/data/prompts.jsonl"
    # CSV with an output_tokens column to draw output lengths from ("" = the file's own); synthetic: and prompt_tokens
    lengths_path: str = ""
    lengths_by_index: bool = False  # row i of lengths_path belongs to record i (the contest's files); else drawn
    tokenizer_path: str = ""  # alpaca, sharegpt: SentencePiece model that counts the record's own output tokens
    max_new_tokens: int = 64  # cap on every request's output tokens
    prompt_tokens: int = 32  # random_ids, shared_prefix: exact prompt length
    prefix_tokens: int = 0  # shared_prefix: how many of them are common
    vocab_size: int = 0  # random ids lie below this; 0 = the served model's, which an external server does not tell
    seed: int = 0  # draws of lengths and random ids


@dataclass
class SloConfig:
    """A service-level objective: a request is good if it meets both."""

    ttft_ms: float = 2000.0
    tpot_ms: float = 100.0


def default_slos() -> dict[str, SloConfig]:
    """MLPerf Inference v5.1, llama3.1-8b: server and interactive scenarios."""
    return {"server": SloConfig(2000.0, 100.0), "interactive": SloConfig(500.0, 30.0)}


class SearchMode(StrEnum):
    """Whether the rate is searched for rather than given."""

    off = "off"
    slo = "slo"  # the highest rate at which enough requests meet an SLO
    saturation = "saturation"  # rates rise until throughput does not


@dataclass
class SearchConfig:
    """A search over workload.arrivals.rate; each rate is one timed window of workload.arrivals.duration_s."""

    mode: SearchMode = SearchMode.off
    slo: str = "server"  # a key of workload.slos
    attainment: float = 0.99  # share of requests that must meet it
    start_rate: float = 1.0
    min_rate: float = 0.05  # below this, or where a window would hold no request, the search gives up
    tolerance: float = 0.1  # stop when the lowest failing rate is within this of the highest met
    max_windows: int = 16


@dataclass
class WorkloadConfig:
    """The timed load."""

    name: str = "laptop"
    protocol: ClientProtocol = ClientProtocol.judge
    arrivals: ArrivalConfig = field(default_factory=ArrivalConfig)
    sweep_rates: list[float] = field(default_factory=list)  # several X against one warm server; [] = only arrivals.rate
    search: SearchConfig = field(default_factory=SearchConfig)
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    ignore_eos: bool = True  # every request yields exactly its asked-for tokens
    timeout_s: float = 600.0  # a request older than this, from its scheduled time, is cancelled and counted timed out
    num_warmup: int = 4  # requests sent and discarded before the timed window
    num_workers: int = 0  # load generator processes; 0 = as many as the rate needs
    # Idle connections kept open ahead of need, so that no TCP connect is part of a latency; 0 suits a server that gives
    # a thread to each open connection.
    connections_ahead: int = 32
    max_connections: int = 0  # a cap; a request waiting for a connection is late, and counted so. 0 = no cap
    slos: dict[str, SloConfig] = field(default_factory=default_slos)


class ReferenceKind(StrEnum):
    """What the served logits are compared with."""

    independent = "independent"  # the same weights without KV cache, batch 1, computed after the run
    baseline = "baseline"  # a run's captures, e.g. those of experiment=capture_baseline
    legacy = "legacy"  # the contest's file_npy_base: one row per file, at positions divisible by 100


@dataclass
class AccuracyConfig:
    """The logits task, run against the very server that was timed."""

    enabled: bool = True
    reference: ReferenceKind = ReferenceKind.independent
    baseline_path: str = ""  # folder, for reference=baseline or legacy
    allow_pickle: bool = False  # legacy: read arrays stored as pickles too (nothing but arrays is ever built)
    export_legacy: bool = False  # also write the rows as the contest names them, to the run's file_npy
    num_prompts: int = 16
    dataset_path: str = ""  # prompts of the task, in the workload's format, with their own lengths; "" = the workload's
    rate: float = 0.0  # X, prompts/s with the contest client's gaps; 0 = `concurrency` in flight
    concurrency: int = 0  # requests in flight; 0 = serving.batch.decode, so that the batch stays full
    every: int = 8  # capture the logits row of each position divisible by this, and of the last prompt token
    positions: list[int] = field(default_factory=list)  # capture the rows of these positions too
    max_new_tokens: int = 32
    atol: float = 5e-3  # the contest's tolerance
    rtol: float = 1e-5
    bit_exact: bool = False  # demand equal bits instead of closeness
    min_pass_rate: float = 1.0  # share of rows that must pass


@dataclass
class TrackingConfig:
    """MLflow."""

    enabled: bool = True
    uri: str = ""  # "" = SQLite file outputs/mlflow.db
    experiment: str = "plumbline"


@dataclass
class SweepConfig:
    """A multirun as a whole (python launch.py -m …)."""

    objectives: list[str] = field(default_factory=lambda: ["output_tokens_per_s"])  # metrics that a search optimises
    # Devices that variants running at once share out, serving.agent.device_ids many each; [] = those of device_ids.
    device_pool: list[int] = field(default_factory=list)


@dataclass
class AcceptanceConfig:
    """A run whose results somebody else wants to have (docs/on_device.md)."""

    enabled: bool = False  # examine the machine first, and pack the finished run into <run>/<name>.zip


@dataclass
class HarnessConfig:
    """All the harness needs besides a server."""

    workload: WorkloadConfig = field(default_factory=WorkloadConfig)
    accuracy: AccuracyConfig = field(default_factory=AccuracyConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
