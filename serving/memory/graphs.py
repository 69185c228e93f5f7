"""What MindSpore's compiled graphs take on a CPU, beyond the values of one layer: found by measuring, not documented.

On CPU a graph of fixed shape keeps what every operator of every layer puts out for as long as it lives; a dynamic one
frees as it goes. Measured with MindSpore 2.9.0 on x86_64, float32, on the default model (30 layers): resident memory
after compiling all graphs of serving/model/graph_shapes.py in an empty cache was 0.28 GB above libraries, weights and
used cache. Not used for Ascend, where none of this was measured.
"""

from __future__ import annotations

from serving.config import ModelShape

_FIRST_BYTES = 60_000_000  # what the first graph costs whatever its size
_LAYER_BYTES = 5_000_000  # per layer: compiling all the graphs
_STATIC_ROWS = 63  # of all graphs of fixed shape together
_HIDDEN_VALUES = 10  # values of hidden size per row and layer that a graph keeps
_INTERMEDIATE_VALUES = 3  # values of intermediate size: gate, up and their product


def graphs_bytes(shape: ModelShape, value_bytes: int) -> int:
    """All the graphs together."""
    kept = _HIDDEN_VALUES * shape.hidden_size + _INTERMEDIATE_VALUES * shape.intermediate_size  # per row and layer
    return _FIRST_BYTES + shape.num_layers * (_LAYER_BYTES + _STATIC_ROWS * kept * value_bytes)
