"""python -m serving.reference.arithmetic: the arithmetic model's logits in closed form, without any paging."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate

import numpy as np

from serving.agent.arithmetic import VOCAB_SIZE, logits_rows
from serving.config import StackConfig
from serving.link.step import Float32
from serving.reference import tool
from serving.reference.tool import Capture, Reference


def reference_rows(token_ids: list[int], positions: list[int]) -> Float32:
    """Logits after the token at each of `positions`, [len(positions), VOCAB_SIZE]."""
    sums = list(accumulate((index + 1) * token for index, token in enumerate(token_ids)))
    return logits_rows(np.array([sums[position] for position in positions], np.int64))


def open_reference(stack: StackConfig, captures: list[Capture], report: Callable[[str, int, int], None]) -> Reference:
    """The closed form needs nothing loaded."""
    method = "arithmetic model in closed form, no paging, batch 1"
    return Reference(reference_rows, method, VOCAB_SIZE, {"dtype": "float32"})


if __name__ == "__main__":
    tool.main("python -m serving.reference.arithmetic", __doc__, open_reference)
