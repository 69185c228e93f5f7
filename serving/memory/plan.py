"""How many bytes a Llama of a given shape needs under a given configuration, before anything is loaded.

It knows arithmetic only: no machine, no MindSpore. What is free is asked elsewhere (serving/memory/fit.py). The sums
are for a step of the greatest size the configuration allows; a test compares them with a measured process.
"""

from __future__ import annotations

from dataclasses import dataclass

from serving.config import BatchConfig, CacheConfig, DeviceConfig, ModelShape, PrefillConfig, StackConfig
from serving.link.layout import Shapes, segment_bytes
from serving.memory.graphs import graphs_bytes

DTYPE_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
LOAD_PEAK = 1.3  # host memory while weights stream to a device, per byte of weights: the bound that the loader keeps
RUNTIME_BYTES = 660_000_000  # MindSpore and MindFormers imported, measured on x86_64: 644 MB


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Bytes by purpose. "Device" is where the model lives: HBM on Ascend, RAM on CPU."""

    num_parameters: int
    block_bytes: int  # of one KV block in all layers
    num_blocks: int
    min_blocks: int  # one sequence of model.seq_length, and the reserved block
    weights_bytes: int
    kv_cache_bytes: int
    activation_bytes: int
    attention_bytes: int
    logits_bytes: int
    graphs_bytes: int  # kept by compiled graphs, on CPU
    shm_bytes: int
    has_own_memory: bool  # the device has memory of its own, so that the host only passes weights through

    @property
    def device_bytes(self) -> int:
        """What the model needs where it runs."""
        parts = self.weights_bytes + self.kv_cache_bytes + self.activation_bytes + self.attention_bytes
        return parts + self.logits_bytes

    @property
    def least_host_bytes(self) -> int:
        """RAM without which the agent's process cannot run, shared memory included."""
        model = round(self.weights_bytes * LOAD_PEAK) if self.has_own_memory else self.device_bytes
        return model + self.shm_bytes + RUNTIME_BYTES

    @property
    def host_bytes(self) -> int:
        """RAM that the agent's process comes to at its peak; on CPU an estimate from above."""
        return self.least_host_bytes + self.graphs_bytes

    @property
    def reference_bytes(self) -> int:
        """RAM of the process that computes reference logits from the same weights, at the least."""
        return self.weights_bytes + RUNTIME_BYTES

    def line(self) -> str:
        """The sum in one line: what it is made of, where the model lives."""
        parts = {
            "weights": self.weights_bytes,
            "KV cache": self.kv_cache_bytes,
            "activations": self.activation_bytes + self.attention_bytes + self.logits_bytes,
        }
        total = self.device_bytes
        if not self.has_own_memory:
            parts |= {"libraries": RUNTIME_BYTES, "graphs": self.graphs_bytes}
            total = self.host_bytes - self.shm_bytes
        return " + ".join(f"{name} {gigabytes(size)}" for name, size in parts.items()) + f" = {gigabytes(total)}"

    def table(self) -> str:
        """The sum, one line per part."""
        blocks = f"{self.num_blocks:,} blocks of {self.block_bytes:,} bytes"
        rows = [
            ("weights", self.weights_bytes, f"{self.num_parameters:,} parameters"),
            ("KV cache", self.kv_cache_bytes, blocks),
            ("activations", self.activation_bytes, "the widest layer of the largest step"),
            ("attention", self.attention_bytes, "what float16 on a CPU gathers of K and V; kernels keep none"),
            ("logits", self.logits_bytes, "last token of each sequence, and a float32 copy"),
            ("device", self.device_bytes, "sum of the above: HBM" if self.has_own_memory else "sum of the above: RAM"),
            ("graphs", self.graphs_bytes, "kept by compiled graphs, on CPU; an estimate from measurements"),
            ("shared memory", self.shm_bytes, "two step areas between engine and agent"),
            ("host", self.host_bytes, "RAM of the agent's process at its peak"),
        ]
        return "\n".join(f"{name:<14} {gigabytes(num_bytes):>10}  {note}" for name, num_bytes, note in rows)

    def problems(self, available_bytes: int) -> list[str]:
        """Why the device's memory cannot hold the model, in a line that names the keys to lower; [] if it does."""
        if self.device_bytes <= available_bytes:
            return []
        need = f"the model needs {gigabytes(self.device_bytes)} of device memory"
        return [f"{need}, {gigabytes(available_bytes)} are available: {self.advice(available_bytes)}"]

    def advice(self, available_bytes: int) -> str:
        """The least change that fits: fewer blocks, else smaller steps, else a smaller model."""
        room = available_bytes - (self.device_bytes - self.kv_cache_bytes)
        fitting = room // self.block_bytes
        if fitting >= self.min_blocks:
            return f"lower serving.cache.num_blocks from {self.num_blocks:,} to {fitting:,} or less"
        floor = self.weights_bytes + self.min_blocks * self.block_bytes
        if floor < available_bytes:
            return (
                "lower serving.prefill.max_tokens, serving.batch.decode, model.seq_length and serving.cache.num_blocks"
            )
        weights = gigabytes(self.weights_bytes)
        return f"the weights alone take {weights}: set device.dtype to float16 or lower model.shape.num_layers"


def plan(
    shape: ModelShape,
    seq_length: int,
    cache: CacheConfig,
    batch: BatchConfig,
    prefill: PrefillConfig,
    device: DeviceConfig,
    shm_bytes: int,
) -> MemoryPlan:
    """The sum for one agent. Raises KeyError for a dtype that DTYPE_BYTES lacks.

    KV cache per token: 2 (K and V) * layers * KV heads * head size * bytes per value (Kwon et al. 2023, "Efficient
    Memory Management for Large Language Model Serving with PagedAttention", section 3, with KV heads for heads).
    """
    size = DTYPE_BYTES[device.dtype]
    fused = device.target == "Ascend"
    stand_ins = not fused and device.dtype != "float32"  # else the kernels, unless there is no compiler to build them
    num_tokens = max(prefill.max_tokens, seq_length, batch.decode)  # a longer prompt goes alone, whole
    head_size = shape.hidden_size // shape.num_heads
    block_bytes = 2 * shape.num_layers * shape.num_kv_heads * head_size * size * cache.block_size
    num_rows = max(batch.decode, prefill.max_prompts)
    return MemoryPlan(
        num_parameters=num_parameters(shape),
        block_bytes=block_bytes,
        num_blocks=cache.num_blocks,
        min_blocks=-(-seq_length // cache.block_size) + 1,
        weights_bytes=num_parameters(shape) * size,
        kv_cache_bytes=cache.num_blocks * block_bytes,
        activation_bytes=activation_values(shape, num_tokens) * size,
        attention_bytes=attention_values(shape, num_tokens, seq_length) * size if stand_ins else 0,
        logits_bytes=num_rows * shape.vocab_size * (size + DTYPE_BYTES["float32"]),
        graphs_bytes=0 if fused else graphs_bytes(shape, size),
        shm_bytes=shm_bytes,
        has_own_memory=fused,
    )


def plan_for(stack: StackConfig, shape: ModelShape) -> MemoryPlan:
    """The sum for one agent of a stack; `shape` is the model's own, which may not be `stack.model.shape`."""
    serving = stack.serving
    shm_bytes = segment_bytes(Shapes.from_stack(stack), shape.vocab_size)
    seq_length = stack.model.seq_length
    return plan(shape, seq_length, serving.cache, serving.batch, serving.prefill, stack.device, shm_bytes)


def num_parameters(shape: ModelShape) -> int:
    """Weights of a Llama: embedding, per layer Q, K, V, O, gate, up, down and two norms, a last norm, the head.

    Touvron et al. 2023, "LLaMA", section 2.2; Ainslie et al. 2023, "GQA", for fewer KV heads. Llama 2 7B:
    6,738,415,616.
    """
    hidden, kv = shape.hidden_size, shape.hidden_size // shape.num_heads * shape.num_kv_heads
    layer = 2 * hidden * hidden + 2 * hidden * kv + 3 * hidden * shape.intermediate_size + 2 * hidden
    embeddings = shape.vocab_size * hidden * (1 if shape.tie_word_embeddings else 2)
    return embeddings + shape.num_layers * layer + hidden


def activation_values(shape: ModelShape, num_tokens: int) -> int:
    """Values alive at once in the widest part of a layer, no gradients kept.

    The residual and its norm, with either Q, K, V and the attention's output or gate, up and their product (the
    terms of Korthikanti et al. 2022, "Reducing Activation Recomputation in Large Transformer Models", table 2,
    without what only training stores).
    """
    hidden, kv = shape.hidden_size, shape.hidden_size // shape.num_heads * shape.num_kv_heads
    widest = max(2 * hidden + 2 * kv, 3 * shape.intermediate_size)
    return num_tokens * (2 * hidden + widest)


def attention_values(shape: ModelShape, num_tokens: int, seq_length: int) -> int:
    """Values that attention without kernels writes out, for at most 64 rows at a time (serving/model/llama.py).

    K and V gathered from the blocks, then both repeated in the layout of the product, and scores and softmax, per row
    and position.
    """
    kv = shape.hidden_size // shape.num_heads * shape.num_kv_heads
    return min(num_tokens, 64) * seq_length * (4 * kv + 2 * shape.num_heads)


def gigabytes(num_bytes: int) -> str:
    """Decimal, as devices and `max_device_memory` are sold; small sizes in MB."""
    return f"{num_bytes / 1e9:,.2f} GB" if abs(num_bytes) >= 1e9 else f"{num_bytes / 1e6:,.1f} MB"
