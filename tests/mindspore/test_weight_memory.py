"""Loading takes little more memory than the weights themselves, whatever the format: at most 1.3 times their bytes.

What lies in a file as it is wanted is mapped, and takes none.

Measured in a process of its own, on a Llama of 135 million parameters.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.config import ModelShape
from serving.memory.plan import LOAD_PEAK, num_parameters
from serving.weights.folder import config_json
from serving.weights.seeded import SeededWeights
from tests.support.weight_files import (
    Arrays,
    write_bfloat16,
    write_checkpoint,
    write_gguf,
    write_hugging_face,
    write_meta,
)

pytestmark = pytest.mark.mindspore
SHAPE = ModelShape(
    vocab_size=16000, hidden_size=1024, intermediate_size=2816, num_layers=8, num_heads=16, num_kv_heads=16
)
FLOAT32 = 4 * num_parameters(SHAPE)
# kind -> (device.dtype, bytes of the weights as they are loaded)
KINDS = {
    "ckpt": ("float16", FLOAT32 // 2),
    "ckpt, widened": ("float32", FLOAT32),
    "shards": ("float16", FLOAT32 // 2),
    "bfloat16": ("float32", FLOAT32),
    "Meta": ("float16", FLOAT32 // 2),
    "GGUF": ("float16", FLOAT32 // 2),
}


@pytest.fixture(scope="module")
def peaks(tmp_path_factory: pytest.TempPathFactory, own_folder: None) -> dict[str, int]:
    tmp = tmp_path_factory.mktemp("large")
    drawn = SeededWeights(SHAPE, 1)
    weights: Arrays = {name: drawn.read(name).astype(np.float16) for name in drawn.tensors}
    paths: dict[str, Path] = {}
    paths["ckpt"] = paths["ckpt, widened"] = write_checkpoint(tmp / "m.ckpt", weights)
    paths["shards"] = write_hugging_face(tmp / "hf", weights, 3)
    paths["Meta"] = write_meta(tmp / "meta.safetensors", weights, SHAPE)
    paths["GGUF"] = write_gguf(tmp / "m.gguf", weights, SHAPE)
    # float16 has 10 bits of mantissa, bfloat16 7: only the bytes matter here, not the numbers
    wide: Any = {name: weight.astype(np.float32) for name, weight in weights.items()}
    paths["bfloat16"] = write_bfloat16(tmp / "b.safetensors", wide)
    (tmp / "config.json").write_text(json.dumps(config_json(SHAPE, 16)))
    script = Path(__file__).parents[1] / "support" / "peak_memory.py"
    sources = [f"{kind}={KINDS[kind][0]}={path}" for kind, path in paths.items()]
    command = [sys.executable, str(script), str(tmp / "config.json"), *sources]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp)
    assert done.returncode == 0, done.stderr
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    print({kind: round(peak / 1e6, 1) for kind, peak in found.items()}, f"float32 = {FLOAT32 / 1e6:.1f} MB")
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_loading_peaks_below_1_3_times_the_weights(kind: str, peaks: dict[str, int]) -> None:
    num_bytes = KINDS[kind][1]
    assert peaks[kind] <= LOAD_PEAK * num_bytes
    if kind in ("bfloat16", "ckpt, widened", "Meta"):  # read, not mapped: the figure measures something
        assert peaks[kind] >= num_bytes


def test_what_we_converted_ourselves_is_mapped(peaks: dict[str, int]) -> None:
    assert peaks["GGUF"] < 0.1 * KINDS["GGUF"][1]


def test_converting_gguf_keeps_but_a_tensor_or_two(peaks: dict[str, int]) -> None:
    assert peaks["GGUF conversion"] <= 0.5 * FLOAT32 // 2
