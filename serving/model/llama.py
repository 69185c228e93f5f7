"""The served model: MindFormers' LlamaForCausalLM on MindSpore, paged cache, packed prefill.

On Ascend its operators are Ascend's own (not verified on device); on CPU they are the stand-ins of cpu_kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from serving.config import StackConfig
from serving.link.step import Float32, Int32, Logits, StepBatch
from serving.memory.plan import plan_for
from serving.model import runtime
from serving.model.graph_cache import GraphCache
from serving.model.graph_shapes import GraphPlan, GraphShape, empty_batch, pad
from serving.model.load_weights import load_weights
from serving.model.network import PackedLlama, paged_network, read_config
from serving.model.step_graph import StepGraph
from serving.weights.pointer import open_weights
from serving.weights.served_folder import locate, shape_of

Report = Callable[[str, int, int], None]


class DeviceLogits:
    """Last-token logits of a step; rows leave the device only when they are asked for."""

    def __init__(self, outputs: tuple[Any, Any, Any], num_seqs: int) -> None:
        self._logits, self._token_ids, self._token_logits = outputs
        self._num_seqs = num_seqs

    def argmax(self) -> tuple[Int32, Float32]:
        """(token ids, their logits), each [num_seqs]; computed on the device."""
        return self._token_ids.asnumpy()[: self._num_seqs], self._token_logits.asnumpy()[: self._num_seqs]

    def rows(self, indices: Int32) -> Float32:
        """Logits of the asked-for sequences, [len(indices), vocab_size]."""
        rows: Float32 = self._logits.asnumpy()[indices]
        return rows


class LlamaModel:
    """serving.link.step.Model over compiled graphs that share one network and its cache."""

    def __init__(
        self, network: PackedLlama, vocab_size: int, plan: GraphPlan, cache: GraphCache | None, report: Report
    ):
        self.vocab_size = vocab_size
        self._network, self._plan, self._cache, self._report = network, plan, cache, report
        self._graphs: dict[GraphShape, StepGraph] = {}

    def forward(self, batch: StepBatch) -> Logits:
        """One pass in the smallest graph that holds the step."""
        shape = self._plan.choose(batch)
        return DeviceLogits(self._graphs[shape].run(pad(batch, shape)), len(batch.context_lengths))

    def warm(self) -> None:
        """Compile every graph, always in the same order (see graph_cache), and run each once."""
        shapes = self._plan.shapes()
        doing = "loading compiled graph" if self._cache and self._cache.is_warm else "compiling graph"
        for done, shape in enumerate(shapes):
            self._report(f"{doing}: {shape}", done, len(shapes))
            graph = StepGraph(self._network, shape)
            graph.run(pad(empty_batch(shape), shape))
            self._graphs[shape] = graph
        if self._cache:
            self._cache.keep()


def load(stack: StackConfig, device_index: int, report: Report) -> LlamaModel:
    """Build the network and fill it from the run's model folder. Raises ModelError, FileNotFoundError."""
    folder = locate(stack)
    shape, plan = read_config(folder), GraphPlan(stack)
    cache = None
    if stack.device.compile_cache:
        contents = [shape, asdict(stack.device), asdict(stack.serving.cache), stack.model.seq_length, plan.shapes()]
        cache = GraphCache(Path(stack.cache_dir), contents)
    runtime.set_up(stack.device, stack.serving.agent.device_ids[device_index], cache.path if cache else None)
    print(plan_for(stack, shape_of(shape)).table(), flush=True)  # into the agent's log
    report("building the network", 0, 0)
    network = paged_network(shape, stack)
    weights = open_weights(folder, shape_of(shape))
    load_weights(network, weights, lambda done, total: report("loading the weights", done, total))
    return LlamaModel(network, shape["vocab_size"], plan, cache, report)
