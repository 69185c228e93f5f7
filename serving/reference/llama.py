"""python -m serving.reference.llama: logits by an independent path, MindFormers without KV cache, packing or batching.

Nothing of the serving path takes part: no paged cache, no block tables, no stand-in operators, no packed prompts. Each
prompt with its answer goes through the plain causal network alone, in one pass (teacher forcing), padded at its end,
which a causal network cannot see.
"""

from __future__ import annotations

from collections.abc import Callable

from serving.config import StackConfig
from serving.reference import tool
from serving.reference.tool import Capture, Reference

_LENGTH_STEP = 32  # tokens; all prompts are padded to one multiple of this, so that one graph serves them all
METHOD = "MindFormers without KV cache, batch 1, no packing, teacher-forced"


def open_reference(stack: StackConfig, captures: list[Capture], report: Callable[[str, int, int], None]) -> Reference:
    """The plain network, compiled for the longest capture. Raises ModelError."""
    report("reference: importing MindSpore", 0, 0)
    from serving.model.plain import PlainLlama  # noqa: PLC0415 -- it litters the folder it is imported in

    longest = max((len(capture.token_ids) for capture in captures), default=1)
    num_tokens = -(-longest // _LENGTH_STEP) * _LENGTH_STEP
    plain = PlainLlama(stack, num_tokens, report)
    return Reference(plain.rows, METHOD, plain.vocab_size, {"num_tokens_padded": num_tokens})


if __name__ == "__main__":
    tool.main("python -m serving.reference.llama", __doc__, open_reference)
