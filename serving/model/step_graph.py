"""One compiled graph of the network: fixed shape or dynamic, prefill or decode, with the argmax on the device."""

from __future__ import annotations

from typing import Any

import mindspore as ms
from mindspore import Tensor, nn, ops

from serving.link.step import StepKind
from serving.model.graph_shapes import GraphInputs, GraphShape
from serving.model.network import PackedLlama, set_first_iteration


class StepGraph(nn.Cell):
    """A graph of its own over the shared network: each object is compiled once, at its first run.

    MindSpore calls a cell whose phase is named `prefill` or `increment` without checking its inputs against the
    compiled shape, which saves time and is safe here, since every input has been padded to that shape.
    """

    def __init__(self, network: PackedLlama, shape: GraphShape) -> None:
        super().__init__(auto_prefix=False)
        self.network = network
        self.argmax = ops.ArgMaxWithValue(axis=-1)
        self.set_train(False)
        self._first = shape.kind is StepKind.prefill
        self._compiled_once = False
        self.phase = "prefill" if self._first else "increment"
        if shape.is_dynamic:
            any_2d = Tensor(shape=[1, None] if self._first else [None, 1], dtype=ms.int32)
            any_1d = Tensor(shape=[None], dtype=ms.int32)
            self.set_inputs(any_2d, any_1d, Tensor(shape=[None, None], dtype=ms.int32), any_1d)

    def construct(
        self, input_ids: Tensor, lengths: Tensor, block_tables: Tensor, slot_mapping: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Logits float32 [num_seqs, vocab_size], the highest one's index int32 [num_seqs] and value [num_seqs]."""
        logits = self.network(
            input_ids, batch_valid_length=lengths, block_tables=block_tables, slot_mapping=slot_mapping
        )
        token_ids, token_logits = self.argmax(logits)
        return logits, token_ids, token_logits

    def run(self, inputs: GraphInputs) -> tuple[Any, Any, Any]:
        """Run the graph; compiles it first if need be."""
        if not self._compiled_once:
            set_first_iteration(self.network, self._first)
            self._compiled_once = True
        arrays = (inputs.input_ids, inputs.lengths, inputs.block_tables, inputs.slot_mapping)
        outputs: tuple[Any, Any, Any] = self(*(Tensor(array) for array in arrays))
        return outputs
