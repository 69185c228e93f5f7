"""One compiled graph of the network: a fixed number of rows or any, with the argmax on the device."""

from __future__ import annotations

from typing import Any

import mindspore as ms
from mindspore import Tensor, nn, ops

from serving.model.graph_shapes import ANY_ROWS, GraphInputs
from serving.model.network import RowLlama


class StepGraph(nn.Cell):
    """A graph of its own over the shared network: each object is compiled once, at its first run.

    MindSpore calls a cell whose phase is named `increment` without checking its inputs against the compiled shape,
    which saves time and is safe here, since every input has been padded to that shape.
    """

    def __init__(self, network: RowLlama, num_rows: int) -> None:
        super().__init__(auto_prefix=False)
        self.network = network
        self.flat = network.has_kernels
        self.argmax = ops.ArgMaxWithValue(axis=-1)
        self.set_train(False)
        self.phase = "increment"
        if num_rows == ANY_ROWS:
            any_1d = Tensor(shape=[None], dtype=ms.int32)
            tables = any_1d if self.flat else Tensor(shape=[None, None], dtype=ms.int32)
            self.set_inputs(Tensor(shape=[None, 1], dtype=ms.int32), any_1d, tables, any_1d, any_1d, any_1d)

    def construct(
        self, input_ids: Tensor, lengths: Tensor, tables: Tensor, slots: Tensor, starts: Tensor, logits_rows: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Logits float32 [S, vocab_size], the highest one's index int32 [S] and value [S]."""
        logits = self.network(
            input_ids, batch_valid_length=lengths, block_tables=tables, slot_mapping=slots,
            q_seq_lens=starts if self.flat else None, gather_index=logits_rows,
        )  # fmt: skip
        token_ids, token_logits = self.argmax(logits)
        return logits, token_ids, token_logits

    def run(self, inputs: GraphInputs) -> tuple[Any, Any, Any]:
        """Run the graph; compiles it first if need be."""
        outputs: tuple[Any, Any, Any] = self(*(Tensor(array) for array in inputs.arrays()))
        return outputs
