"""The kernels as MindSpore operators, and MindFormers' Llama with its cells' operators exchanged for them.

MindFormers' layers stay: embedding, order of cells, residuals, rotary tables, head. float32 only. Each cell takes over
the parameter of the one it replaces, under its name.
"""

from __future__ import annotations

from pathlib import Path

import mindspore as ms
import numpy as np
from mindformers import LlamaForCausalLM
from mindspore import Parameter, Tensor, nn, ops
from mindspore.ops import CustomRegOp, DataType


def operator(library: Path, name: str, inputs: str) -> ops.Custom:
    """An operator of the library; `inputs`: f (float32) or i (int32) for each.

    Without reg_info MindSpore finds no names of inputs, and its inference of dynamic shapes meets a null pointer.
    """
    types = {"f": DataType.F32_Default, "i": DataType.I32_Default}
    info = CustomRegOp(name)
    for index in range(len(inputs)):
        info = info.input(index, f"x{index}")
    info = info.output(0, "y").dtype_format(*(types[letter] for letter in inputs), DataType.F32_Default).target("CPU")
    return ops.Custom(f"{library}:{name}", None, ms.float32, "aot", reg_info=info.get_op_info())


class RowAttention(nn.Cell):
    """InferAttention: rotary embedding, cache and attention in one operator.

    query [T, 1, N1 * D], key and value [T, 1, N2 * D], batch_valid_length [T] (position + 1), slot_mapping [T],
    block_tables [1 + n] (the cache's number, then tables end to end), q_seq_lens [T] (where a row's table starts).
    """

    def __init__(self, library: Path, layer: int) -> None:
        super().__init__(auto_prefix=False)
        self.layer = Tensor(np.array([layer], np.int32))
        self.attention = operator(library, "RowAttention", "fffffiiiii")
        self.attention.add_prim_attr("side_effect_mem", True)

    def construct(
        self, query: Tensor, key: Tensor, value: Tensor, batch_valid_length: Tensor, block_tables: Tensor,
        slot_mapping: Tensor, freqs_cis: tuple[Tensor, Tensor, Tensor], attn_mask: Tensor | None = None,
        alibi_mask: Tensor | None = None, prefix_keys_values: Tensor | None = None, q_seq_lens: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """[T, 1, N1 * D]."""
        cos, sin, _ = freqs_cis
        return self.attention(
            query, key, value, cos, sin, block_tables, batch_valid_length, slot_mapping, q_seq_lens, self.layer
        )


class RowRmsNorm(nn.Cell):
    """LlamaRMSNorm."""

    def __init__(self, library: Path, weight: Parameter, epsilon: float) -> None:
        super().__init__(auto_prefix=False)
        self.weight = weight
        self.epsilon = Tensor(np.array([epsilon], np.float32))
        self.norm = operator(library, "RowRmsNorm", "fff")

    def construct(self, x: Tensor) -> Tensor:
        """In x's shape."""
        return self.norm(x, self.weight, self.epsilon)


class RowLinear(nn.Cell):
    """Linear without bias: [..., in_channels] -> [..., out_channels]."""

    def __init__(self, library: Path, weight: Parameter) -> None:
        super().__init__(auto_prefix=False)
        self.weight = weight
        self.multiply = operator(library, "RowLinear", "ff")

    def construct(self, x: Tensor) -> Tensor:
        """[..., out_channels]."""
        return self.multiply(x, self.weight)


class RowHead(nn.Cell):
    """The head, on the rows that are wanted alone: ([T, 1, hidden], rows [S], -1 = none) -> [S, 1, vocab_size]."""

    def __init__(self, library: Path, weight: Parameter) -> None:
        super().__init__(auto_prefix=False)
        self.weight = weight
        self.multiply = operator(library, "RowHead", "fif")

    def construct(self, output_and_rows: tuple[Tensor, Tensor]) -> Tensor:
        """Logits [S, 1, vocab_size], 0 where no row is wanted."""
        output, rows = output_and_rows
        return self.multiply(output, rows, self.weight)


def can_serve(head_dim: int, dtype: str) -> bool:
    """Whether the kernels have what this network needs."""
    return dtype == "float32" and head_dim % 16 == 0


def install(network: LlamaForCausalLM, library: Path) -> None:
    """Exchange the cells; the network's own cache parameters go with what they replace."""
    for index, layer in enumerate(network.model.layers):
        attention, feed_forward = layer.attention, layer.feed_forward
        _exchange(attention, "infer_attention", RowAttention(library, index))
        feed_forward.w1.activation_flag = False  # SiLU is in the product
        _exchange(feed_forward, "mul", operator(library, "RowSwiGlu", "ff"))
        for cell, name in [(attention, "wq"), (attention, "wk"), (attention, "wv"), (attention, "wo"),
                           (feed_forward, "w1"), (feed_forward, "w2"), (feed_forward, "w3")]:  # fmt: skip
            _exchange(cell, name, RowLinear(library, getattr(cell, name).weight))
        _exchange_norm(library, layer, "attention_norm")
        _exchange_norm(library, layer, "ffn_norm")
    _exchange_norm(library, network.model, "norm_out")
    _exchange(network, "lm_head", RowHead(library, network.lm_head.weight))


def _exchange_norm(library: Path, cell: nn.Cell, name: str) -> None:
    norm = getattr(cell, name)
    _exchange(cell, name, RowRmsNorm(library, norm.weight, norm.eps))


def _exchange(cell: nn.Cell, name: str, new: nn.Cell | ops.Custom) -> None:
    delattr(cell, name)  # a Cell does not let a Cell take a Primitive's name
    setattr(cell, name, new)
