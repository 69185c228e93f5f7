"""launch.py with the real default model: its greedy tokens are those of another implementation on the same weights."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
REFERENCE = json.loads((ROOT / "tests/data/reference_tokens.json").read_text())
pytestmark = pytest.mark.mindspore


@pytest.mark.timeout(900)  # it may have to fetch 93 MB and to compile seven graphs
def test_the_default_model_serves_the_reference_tokens_batched_paged_and_packed(tmp_path: Path) -> None:
    prompts = REFERENCE["prompts"]
    dataset = tmp_path / "prompts.jsonl"
    dataset.write_text("".join(json.dumps({"prompt": prompt["prompt"]}) + "\n" for prompt in prompts))
    num_tokens = len(prompts[0]["generated_ids"])
    overrides = [
        f"outputs_dir={tmp_path / 'outputs'}",
        f"workload.dataset.path={dataset}",
        "workload.dataset.lengths_path=''",
        f"workload.dataset.max_new_tokens={num_tokens}",
        "workload.arrivals.rate=3",
        "workload.arrivals.duration_s=1",
        "workload.num_warmup=0",
        f"accuracy.num_prompts={len(prompts)}",
        f"accuracy.max_new_tokens={num_tokens}",
        "serving.batch.decode=3",
    ]
    done = subprocess.run(
        [sys.executable, "launch.py", *overrides], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr

    run_dir = (tmp_path / "outputs" / "latest").resolve()
    batch_sizes = set()
    for index, prompt in enumerate(prompts):
        capture = json.loads((run_dir / f"captures/prompt-{index}.json").read_text())
        assert capture["prompt_ids"] == prompt["prompt_ids"]
        assert capture["generated_ids"] == prompt["generated_ids"]
        batch_sizes.update(capture["batch_sizes"])
        served = np.load(run_dir / f"captures/prompt-{index}.npy")
        reference = np.load(run_dir / f"reference/prompt-{index}.npy")
        assert served.shape == reference.shape
        assert not np.array_equal(served, reference)  # two paths, not one compared with itself
    assert max(batch_sizes) == len(prompts)  # they were decoded together
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert metrics["requests_finished"] == metrics["requests_total"] == 3
    assert metrics["allclose_pass_rate"] == 1.0
    source = json.loads((run_dir / "reference/manifest.json").read_text())
    assert source["weights"] == REFERENCE["model"]["weights"] == "Q4_1, dequantised"
