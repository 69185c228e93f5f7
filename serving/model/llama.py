"""The served model: MindFormers' LlamaForCausalLM on MindSpore, one kind of step, paged cache.

On Ascend its operators are Ascend's own (not verified on device); on CPU they are the kernels of kernels/, or the
stand-ins of cpu_kernels where those cannot be had.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from serving.config import StackConfig
from serving.link.step import Float32, Int32, Logits, StepBatch, StepRows, rows_of
from serving.memory.plan import plan_for
from serving.model import graph_shapes, runtime
from serving.model.graph_cache import GraphCache
from serving.model.kernels import build, operators
from serving.model.kernels.kv_cache import KvCache, set_threads
from serving.model.load_weights import load_weights
from serving.model.network import RowLlama, paged_network, read_config
from serving.model.step_graph import StepGraph
from serving.weights.pointer import open_weights
from serving.weights.served_folder import locate, shape_of

Report = Callable[[str, int, int], None]
_MOST_STAND_IN_ROWS = 64  # the stand-ins gather each row's whole context: longer steps run in pieces


class DeviceLogits:
    """Logits of a step's wanted rows; they leave the device only when they are asked for."""

    def __init__(self, parts: list[tuple[tuple[Any, Any, Any], int]]) -> None:
        """(a graph's outputs, how many of their rows count) of each piece of the step."""
        self._parts = parts

    def argmax(self) -> tuple[Int32, Float32]:
        """(token ids, their logits), each [S]; computed on the device."""
        return self._all(1), self._all(2)

    def rows(self, indices: Int32) -> Float32:
        """Logits of the asked-for rows, [len(indices), vocab_size]."""
        rows: Float32 = self._all(0)[indices]
        return rows

    def _all(self, output: int) -> Any:
        found = [outputs[output].asnumpy()[:count] for outputs, count in self._parts]
        return found[0] if len(found) == 1 else np.concatenate(found)


class LlamaModel:
    """serving.link.step.Model over compiled graphs that share one network and its cache."""

    supports_cached_prefill = True

    def __init__(
        self, network: RowLlama, vocab_size: int, kv_cache: KvCache | None, most_rows: int | None,
        graphs: GraphCache | None, report: Report,
    ) -> None:  # fmt: skip
        """`kv_cache`: the kernels'; None = the network has its own. `most_rows`: of one run; None = no limit."""
        self.vocab_size, self.kv_cache = vocab_size, kv_cache
        self._network, self._most_rows, self._cache, self._report = network, most_rows, graphs, report
        self._graphs: dict[int, StepGraph] = {}
        self._static: tuple[int, ...] = ()

    def forward(self, batch: StepBatch) -> Logits:
        """One pass of a prefill or decode step."""
        return self.step(rows_of(batch))

    def step(self, step: StepRows) -> Logits:
        """One pass in the smallest graph that holds the step; logits [S, vocab_size] in the order of `logits_rows`."""
        pieces = graph_shapes.pieces(step, self._most_rows) if self._most_rows else [step]
        return DeviceLogits([(self._run(piece), len(piece.logits_rows)) for piece in pieces])

    def use_dynamic_graph_only(self) -> None:
        """For comparing: steps of every size run in the dynamic graph from now on."""
        self._static = ()

    def _run(self, step: StepRows) -> tuple[Any, Any, Any]:
        if self.kv_cache is None:
            return self._graphs[graph_shapes.ANY_ROWS].run(graph_shapes.tabled(step))
        num_rows = graph_shapes.choose(step, self._static)
        return self._graphs[num_rows].run(graph_shapes.flat(step, num_rows, self.kv_cache.number))

    def warm(self) -> None:
        """Compile every graph, always in the same order (see graph_cache), and run each once.

        The dynamic one comes first: it serves every step from then on.
        """
        static = graph_shapes.STATIC_ROWS if self.kv_cache is not None else ()
        doing = "loading compiled graph" if self._cache and self._cache.is_warm else "compiling graph"
        for done, num_rows in enumerate((graph_shapes.ANY_ROWS, *static)):
            named = f"of {num_rows} rows" if num_rows else "of any number of rows"
            self._report(f"{doing} {named}", done, 1 + len(static))
            start_s = time.monotonic()
            self._graphs[num_rows] = StepGraph(self._network, num_rows)
            self._static = tuple(size for size in self._graphs if size)
            self.step(graph_shapes.empty_step(num_rows or 3)).argmax()
            print(f"{doing} {named}: {time.monotonic() - start_s:.1f} s", flush=True)
        if self._cache:
            self._cache.keep()


def load(stack: StackConfig, device_index: int, report: Report) -> LlamaModel:
    """Build the network and fill it from the run's model folder. Raises ModelError, FileNotFoundError."""
    folder = locate(stack)
    config = read_config(folder)
    shape = shape_of(config)
    head_dim, num_kv_heads = shape.hidden_size // shape.num_heads, shape.num_kv_heads
    library = _kernels(stack, head_dim)
    graphs = None
    if stack.device.compile_cache:
        # The kernels' cache is no part of a graph; the network's own is.
        of_cache = str(library) if library else asdict(stack.serving.cache)
        graphs = GraphCache(Path(stack.cache_dir), [config, asdict(stack.device), stack.model.seq_length, of_cache])
    runtime.set_up(stack.device, stack.serving.agent.device_ids[device_index], graphs.path if graphs else None)
    print(plan_for(stack, shape).table(), flush=True)  # into the agent's log
    report("building the network", 0, 0)
    network = paged_network(config, stack, library)
    weights = open_weights(folder, shape)
    load_weights(network, weights, lambda done, total: report("loading the weights", done, total))
    kv_cache, most_rows = None, None
    if library is not None:
        set_threads(library, stack.device.num_threads or len(os.sched_getaffinity(0)))
        cache = stack.serving.cache
        kv_cache = KvCache(library, shape.num_layers, cache.num_blocks, cache.block_size, num_kv_heads, head_dim)
    elif stack.device.target != "Ascend":
        most_rows = _MOST_STAND_IN_ROWS
    return LlamaModel(network, config["vocab_size"], kv_cache, most_rows, graphs, report)


def _kernels(stack: StackConfig, head_dim: int) -> Path | None:
    """The CPU's kernels; None on Ascend, and, said once with what that costs, where they cannot serve or be built."""
    if stack.device.target == "Ascend":
        return None
    if not operators.can_serve(head_dim, stack.device.dtype):
        print(f"kernels: none for {stack.device.dtype} and heads of {head_dim}: {build.COST}", flush=True)
        return None
    try:
        return build.library(Path(stack.cache_dir), lambda line: print(line, flush=True))
    except build.NoKernels as error:
        print(f"kernels: {error}; without them {build.COST}", flush=True)
        return None
