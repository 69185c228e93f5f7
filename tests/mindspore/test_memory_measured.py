"""The arithmetic of memory against a real agent: a process that loads a model, compiles its graphs and runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from serving.config import ModelConfig, ModelShape, StackConfig, WeightSource
from serving.memory.plan import RUNTIME_BYTES, plan_for
from serving.weights.served_folder import announce

pytestmark = pytest.mark.mindspore
ROOT = Path(__file__).parents[2]
SHAPE = ModelShape(
    vocab_size=8000, hidden_size=1024, intermediate_size=2816, num_layers=3, num_heads=16, num_kv_heads=16
)
AGENT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from serving.processes import stack_file
from serving.model.llama import load
model = load(stack_file.load(Path(sys.argv[2])), 0, lambda *progress: None)
model.warm()
for line in Path("/proc/self/status").read_text().splitlines():
    if line.startswith("VmHWM:"):
        print(int(line.split()[1]) * 1024)
"""


def test_a_real_process_stays_within_the_sum_and_above_its_certain_part(tmp_path: Path) -> None:
    from serving.weights.prepare import prepare

    stack = StackConfig(run_dir=str(tmp_path), cache_dir=str(tmp_path / "cache"))
    stack.model = ModelConfig(name="measured", source=WeightSource.random, seq_length=256, shape=SHAPE)
    stack.serving.batch.decode = 4
    stack.serving.prefill.max_tokens, stack.serving.cache.num_blocks = 192, 17
    stack.device.compile_cache = False
    announce(stack, prepare(stack, lambda *progress: None))
    (tmp_path / "stack.json").write_text(json.dumps(asdict(stack)))
    command = [sys.executable, "-c", AGENT, str(ROOT), str(tmp_path / "stack.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    plan, peak = plan_for(stack, SHAPE), int(done.stdout.splitlines()[-1])
    assert plan.table() in done.stdout  # the agent's log has the sum
    print(f"measured {peak / 1e6:.0f} MB, planned {plan.host_bytes / 1e6:.0f} MB: {plan.line()}")
    assert plan.weights_bytes + 0.8 * RUNTIME_BYTES < peak < plan.host_bytes
    assert plan.host_bytes < 1.5 * peak
