"""What MindSpore's compiled graphs take on a CPU, beyond the values of one layer: found by measuring, not documented.

On CPU a graph of fixed shape keeps what every operator of every layer puts out for as long as it lives; nothing is
reused between layers or graphs. A dynamic graph frees as it goes. Measured with MindSpore 2.9.0 on x86_64, float32, as
the growth of the agent's resident memory while graphs were compiled and run, on Llamas of 2 to 30 layers and hidden
sizes of 576 to 4096; the constants are rounded up so that the sums were 5 to 25 % above what was measured. They are not
used for Ascend, where none of this was measured.
"""

from __future__ import annotations

from serving.config import BatchConfig, DeviceConfig, ModelShape, decode_buckets

_FIRST_BYTES = 130_000_000  # what the first graph costs whatever its size
_LAYER_BYTES = 40_000_000  # per layer: compiling the first graph, and both dynamic ones
_GRAPH_LAYER_BYTES = 5_000_000  # per layer of each graph of fixed shape
_HIDDEN_VALUES = 45  # values of hidden size per token and layer that a graph keeps
_INTERMEDIATE_VALUES = 4  # values of intermediate size: gate, up, its activation and their product
_SCORE_VALUES = 3  # copies of a prefill's attention scores
_GATHERED = 1.2  # of what decode's attention gathers


def graphs_bytes(
    shape: ModelShape, batch: BatchConfig, device: DeviceConfig, block_size: int, seq_length: int, value_bytes: int
) -> int:
    """All the graphs that the configuration compiles, together."""
    kept = _HIDDEN_VALUES * shape.hidden_size + _INTERMEDIATE_VALUES * shape.intermediate_size  # per token and layer
    kv = shape.hidden_size // shape.num_heads * shape.num_kv_heads
    values, num_graphs = 0.0, 0
    for tokens in set(device.prefill_tokens_buckets):
        values += tokens * (kept + _SCORE_VALUES * shape.num_heads * tokens)
        num_graphs += 1
    max_blocks = -(-seq_length // block_size)
    for blocks in {min(size, max_blocks) for size in device.decode_blocks_buckets}:
        for num_seqs in decode_buckets(batch):
            values += num_seqs * (kept + _GATHERED * blocks * block_size * (4 * kv + 2 * shape.num_heads))
            num_graphs += 1
    per_layer = _LAYER_BYTES + num_graphs * _GRAPH_LAYER_BYTES + values * value_bytes
    return _FIRST_BYTES + round(shape.num_layers * per_layer)
