"""The logits task of a real stack against each kind of stored reference, as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.process
QUICK = ("tracking=none", "workload.arrivals.duration_s=0.5", "accuracy.num_prompts=6")


def launch(outputs: Path, *overrides: str) -> tuple[int, str]:
    command = [sys.executable, "launch.py", *QUICK, *overrides, f"outputs_dir={outputs}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


def metrics_of(outputs: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((outputs / "latest" / "metrics.json").read_text())
    return found


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The captures of a run that kept a baseline."""
    outputs = tmp_path_factory.mktemp("baseline")
    code, output = launch(outputs, "experiment=capture_baseline", "model=arithmetic")
    assert code == 0, output
    return (outputs / "latest").resolve() / "captures"


def test_a_baseline_says_what_made_it(baseline: Path) -> None:
    manifest = json.loads((baseline / "manifest.json").read_text())
    assert {"weights_sha256", "tokenizer_sha256", "dtype", "device", "versions", "stack_digest"} <= manifest.keys()
    assert manifest["config_digest"] == json.loads((baseline.parent / "metrics.json").read_text())["config_digest"]
    assert manifest["allclose_pass_rate"] == 1.0 and manifest["compared_with"] == "independent"
    reference = json.loads((baseline.parent / "reference" / "manifest.json").read_text())
    assert reference["config_digest"] == manifest["config_digest"]


def test_a_run_is_held_to_a_stored_baseline(baseline: Path, tmp_path: Path) -> None:
    choose = ("experiment=smoke", "accuracy.reference=baseline", f"accuracy.baseline_path={baseline}")
    code, output = launch(tmp_path, *choose)
    assert code == 0, output
    row = metrics_of(tmp_path)
    assert row["allclose_requests_passed"] == row["allclose_requests_total"] == 6
    assert row["allclose_rows_total"] == row["allclose_rows_passed"] > 6
    assert row["text_match_rate"] == 1.0
    rows = pq.read_table(tmp_path / "latest" / "accuracy.parquet").to_pydict()
    assert len(rows["position"]) == row["allclose_rows_total"] and all(rows["passed"])
    assert max(rows["occupancy"]) > 1  # the baseline was made one request at a time


def test_a_baseline_that_the_run_does_not_meet_fails_it_by_name(baseline: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for path in baseline.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    about = json.loads((other / "prompt-3.json").read_text())
    rows = np.load(other / "prompt-3.npy")
    rows[1, 5] += 1
    np.save(other / "prompt-3.npy", rows)
    forced = json.loads((other / "prompt-4.json").read_text())
    forced["generated_ids"][2] = 7  # a token that the server would not write: it is forced on, and the rest compared
    forced["chosen_ids"][2] = 7
    (other / "prompt-4.json").write_text(json.dumps(forced))
    choose = ("experiment=smoke", "accuracy.reference=baseline", f"accuracy.baseline_path={other}", "tracking=mlflow")
    code, output = launch(tmp_path / "out", *choose)
    assert code == 1, output
    row = metrics_of(tmp_path / "out")
    assert row["accuracy_status"] == "failed" and row["verdict"] == "fail"
    assert "✗ accuracy failed" in output  # beside the time
    assert row["worst_prompt_id"] in ("prompt-3", "prompt-4")
    assert (row["first_failed_prompt_id"], row["first_failed_position"]) == ("prompt-3", about["positions"][1])
    client = MlflowClient(f"sqlite:///{tmp_path}/out/mlflow.db")
    (run,) = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert (run.data.tags["accuracy_status"], run.info.status) == ("failed", "FAILED")
    assert "accuracy.parquet" in {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
    assert "accuracy failed" in (tmp_path / "out" / "latest" / "report.html").read_text()
    captured = json.loads((tmp_path / "out" / "latest" / "captures" / "prompt-4.json").read_text())
    assert captured["generated_ids"] == forced["generated_ids"] and captured["chosen_ids"][2] != 7
    assert row["text_match_rate"] == pytest.approx(5 / 6) and row["first_divergent_prompt_id"] == "prompt-4"


def test_the_contests_folder_is_written_and_read(tmp_path: Path) -> None:
    """accuracy=contest but for its pace: rows at every 100th position, exported, then held to that export."""
    contest = ("experiment=smoke", "accuracy=contest", "accuracy.rate=50", "workload.dataset.max_new_tokens=200",
               "workload.dataset.lengths_path=", "accuracy.max_new_tokens=200")  # fmt: skip
    code, output = launch(tmp_path / "first", *contest)
    assert code == 0, output
    folder = tmp_path / "first" / "latest" / "file_npy"
    names = [path.name.removesuffix(".npy").split("_") for path in folder.iterdir()]
    assert len(names) >= 6 and all(len(fields) == 3 and int(fields[2]) % 100 == 0 for fields in names)
    choose = (*contest, "accuracy.reference=legacy", f"accuracy.baseline_path={folder}", "accuracy.export_legacy=false")
    code, output = launch(tmp_path / "second", *choose)
    assert code == 0, output
    row = metrics_of(tmp_path / "second")
    assert row["allclose_rows_passed"] == row["allclose_rows_total"] == len(names)
    assert row["text_match_rate"] is None
    assert not (tmp_path / "second" / "latest" / "file_npy").exists()
