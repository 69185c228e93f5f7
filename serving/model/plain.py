"""The independent path: MindFormers' plain causal network, one sequence at a time, no cache, no stand-in operators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from mindspore import Tensor

from serving.config import StackConfig
from serving.link.step import Float32
from serving.model import runtime
from serving.model.graph_cache import GraphCache
from serving.model.load_weights import load_weights
from serving.model.network import plain_network, read_config
from serving.weights.pointer import open_weights
from serving.weights.served_folder import locate, shape_of

Report = Callable[[str, int, int], None]


class PlainLlama:
    """Rows of one sequence at a time, from a graph of one length."""

    def __init__(self, stack: StackConfig, num_tokens: int, report: Report) -> None:
        folder = locate(stack)
        shape = read_config(folder)
        self.vocab_size: int = shape["vocab_size"]
        self._num_tokens = num_tokens
        cache = None
        if stack.device.compile_cache:
            contents = ["reference", shape, asdict(stack.device), num_tokens]
            cache = GraphCache(Path(stack.cache_dir), contents)
        runtime.set_up(stack.device, stack.serving.agent.device_ids[0], cache.path if cache else None)
        self._network = plain_network(shape, num_tokens, stack.device.dtype)
        weights = open_weights(folder, shape_of(shape))
        load_weights(self._network, weights, lambda *done: report("reference: loading the weights", *done))
        report("reference: compiling its graph", 0, 0)
        self.rows([0], [0])
        if cache:
            cache.keep()

    def rows(self, token_ids: list[int], positions: list[int]) -> Float32:
        """Logits after the token at each position, float32 [len(positions), vocab_size]."""
        padded = np.zeros((1, self._num_tokens), np.int32)
        padded[0, : len(token_ids)] = token_ids
        logits = self._network(Tensor(padded)).asnumpy().reshape(self._num_tokens, self.vocab_size)
        rows: Float32 = logits[positions].astype(np.float32)
        return rows
