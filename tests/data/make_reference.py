"""Makes reference_tokens.json: greedy tokens of the default model by another implementation, Hugging Face transformers.

Not run by the tests; kept so that the file can be made again. It needs an environment of its own:

    python3.11 -m venv /tmp/reference && /tmp/reference/bin/pip install torch transformers
    /tmp/reference/bin/python tests/data/make_reference.py MODEL_FOLDER > tests/data/reference_tokens.json

MODEL_FOLDER is what `make bench` leaves under ~/.cache/plumbline/models/: the GGUF's Q4_1 weights, dequantised, as a
Hugging Face folder. float32 on CPU, greedy, no stop at EOS, no chat template.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

PROMPTS = ["Once upon a time", "The capital of France is", "def fibonacci(n):"]
NUM_TOKENS = 24


def main() -> None:
    """Print the reference as JSON."""
    folder = Path(sys.argv[1])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    prompts = []
    for prompt in PROMPTS:
        token_ids = tokenizer(prompt, return_tensors="pt").input_ids
        with torch.no_grad():
            output = model.generate(
                token_ids, max_new_tokens=NUM_TOKENS, min_new_tokens=NUM_TOKENS, do_sample=False, eos_token_id=None
            )
        generated = output[0, token_ids.shape[1] :].tolist()
        prompts.append({"prompt": prompt, "prompt_ids": token_ids[0].tolist(), "generated_ids": generated})
    manifest = json.loads((folder / "manifest.json").read_text())
    about = {
        "made_with": {"transformers": transformers.__version__, "torch": torch.__version__, "dtype": "float32"},
        "model": {key: manifest[key] for key in ("name", "source", "source_sha256", "weights")},
    }
    print(json.dumps(about | {"prompts": prompts}, indent=1))


if __name__ == "__main__":
    main()
