"""launch.py against servers that run already: the same records, report and MLflow run, whatever they speak."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from test_launch import Launch, assert_accounted, metrics_of

from harness import records
from tests.support.load import ITL_MS, TTFT_MS, Reference
from tests.support.stack import MODEL, expected_text, running_stack

pytestmark = pytest.mark.process
EXTERNAL = ("experiment=smoke", "serving=external", "accuracy=none", "workload.dataset.lengths_path=''")


@pytest.fixture
def reference(tmp_path: Path) -> Iterator[Reference]:
    server = Reference(tmp_path / "reference.log")
    yield server
    server.process.kill()
    server.process.communicate()


def dataset(tmp_path: Path, protocol: str) -> list[str]:
    """A different kind of data set for each protocol."""
    path = tmp_path / "data"
    if protocol == "judge":
        path.write_text(json.dumps([{"instruction": f"Do {i}", "input": "", "output": "x"} for i in range(5)]))
        return ["workload.dataset.format=alpaca", f"workload.dataset.path={path}"]
    if protocol == "chat":
        turns = [{"from": "human", "value": "Question"}, {"from": "gpt", "value": "Answer"}]
        path.write_text(json.dumps([{"conversations": turns}]))
        return ["workload.dataset.format=sharegpt", f"workload.dataset.path={path}"]
    path.write_text("prompt_tokens,output_tokens\n9,16\n4,16\n")
    chosen = ["workload.dataset.format=synthetic", f"workload.dataset.lengths_path={path}"]
    return [*chosen, "workload.dataset.vocab_size=100"]


@pytest.mark.parametrize("protocol", ["judge", "completions", "chat"])
def test_records_report_and_mlflow_run_of_a_foreign_server(tmp_path: Path, reference: Reference, protocol: str) -> None:
    outputs = tmp_path / "outputs"
    tracked = protocol == "completions"  # once will do: sending the run is the same for all
    where = [f"serving.url={reference.url}", f"workload.protocol={protocol}", *dataset(tmp_path, protocol)]
    launch = Launch(outputs, *EXTERNAL, *where, f"tracking={'mlflow' if tracked else 'none'}")
    code, output = launch.wait()
    assert code == 0, output
    assert reference.process.poll() is None  # it is not ours to end
    row = metrics_of(launch.run_dir)
    assert row["requests_finished"] == row["requests_total"] == 20
    assert_accounted(row)
    assert row["accuracy_status"] == "not_checked"
    # The server's own timing is exact, so ours must be no less; by how little more it is, make bench-fidelity measures.
    assert float(str(row["ttft_ms_p50"])) >= TTFT_MS - 0.1
    assert float(str(row["tpot_ms_p50"])) == pytest.approx(ITL_MS, rel=0.2)
    kept, about = records.read(launch.run_dir / "records.parquet")
    assert {record.output_tokens for record in kept} == {16}
    assert about["server_cpus"] is None and about["generator_cpus"] > 0
    assert any("too few for" in text for text in about["distrust"])
    assert "Reasons to distrust these figures" in output
    assert (launch.run_dir / "report.html").stat().st_size > 1000
    if not tracked:
        return
    client = MlflowClient(f"sqlite:///{outputs}/mlflow.db")
    experiment = client.get_experiment_by_name("plumbline")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.metrics["requests_finished"] == 20
    assert run.data.params["serving.url"] == reference.url
    artifacts = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert {"records.parquet", "telemetry.parquet", "metrics.json"} <= artifacts


def test_our_own_stack_by_its_url_tells_its_step_times(tmp_path: Path) -> None:
    with running_stack(tmp_path) as stack:
        launch = Launch(
            tmp_path / "outputs", *EXTERNAL, "tracking=none", f"serving.url={stack.url}", f"model.name={MODEL}",
            "workload.protocol=completions",
        )  # fmt: skip
        code, output = launch.wait()
        assert code == 0, output
    row = metrics_of(launch.run_dir)
    assert int(float(str(row["server_decode_steps"]))) > 0
    stats = json.loads((launch.run_dir / "server_stats.json").read_text())
    assert stats["after"]["engine"]["requests"] != stats["before"]["engine"]["requests"]
    kept, _ = records.read(launch.run_dir / "records.parquet")
    first_prompt = json.loads(Path("conf/data/prompts.jsonl").read_text().splitlines()[0])["prompt"]
    assert kept[0].text == expected_text(first_prompt, 16)


def test_a_server_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    launch = Launch(tmp_path, *EXTERNAL, "tracking=none", "serving.url=http://127.0.0.1:9")
    code, output = launch.wait()
    assert code == 3
    assert "http://127.0.0.1:9: [Errno 111] Connection refused" in output
    assert "Traceback" not in output
