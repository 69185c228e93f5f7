"""python -m serving.model.reference: logits by an independent path, MindFormers without KV cache, packing or batching.

Nothing of the serving path takes part: no paged cache, no block tables, no stand-in operators, no packed prompts. Each
prompt with its answer goes through the plain causal network alone, in one pass (teacher forcing), padded at its end,
which a causal network cannot see.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from serving import reference_tool
from serving.config import StackConfig
from serving.model.download import file_sha256
from serving.model_folder import locate
from serving.reference_tool import Capture, Reference

_LENGTH_STEP = 32  # tokens; all prompts are padded to one multiple of this, so that one graph serves them all
METHOD = "MindFormers without KV cache, batch 1, no packing, teacher-forced"


def open_reference(stack: StackConfig, captures: list[Capture], report: Callable[[str, int, int], None]) -> Reference:
    """The plain network, compiled for the longest capture. Raises ModelError."""
    report("reference: importing MindSpore", 0, 0)
    from serving.model.plain import PlainLlama  # noqa: PLC0415 -- it litters the folder it is imported in

    longest = max((len(capture.token_ids) for capture in captures), default=1)
    num_tokens = -(-longest // _LENGTH_STEP) * _LENGTH_STEP
    plain = PlainLlama(stack, num_tokens, report)
    about = {"dtype": stack.device.dtype, "target": stack.device.target, "num_tokens_padded": num_tokens}
    return Reference(plain.rows, METHOD, plain.vocab_size, about | hashes(locate(stack)))


def hashes(folder: Path) -> dict[str, Any]:
    """Which weights and tokenizer these are; told by the folder's manifest, else computed."""
    path = folder / "manifest.json"
    if path.is_file():
        manifest = json.loads(path.read_text())
        return {key: value for key, value in manifest.items() if key.endswith("sha256") or key == "weights"}
    return {f"{file.name}_sha256": file_sha256(file) for file in sorted(folder.glob("*.safetensors"))}


if __name__ == "__main__":
    reference_tool.main("python -m serving.model.reference", __doc__, open_reference)
