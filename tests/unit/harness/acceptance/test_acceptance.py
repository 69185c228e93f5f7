"""The acceptance file: a fit that finds known costs, a document of whatever the run came to, a zip without secrets."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from cli import acceptance
from cli.compose import compose_config
from harness import records
from harness import run_folder as layout
from harness.acceptance import archive, step_fit, step_table, summary
from harness.observe import steps
from harness.run_folder import STEPS
from serving.config import StackConfig
from serving.doctor.examine import judge
from serving.doctor.facts import AscendFacts, Facts, MachineFacts
from serving.doctor.finding import Status
from serving.doctor.npu_smi import Npu, NpuSmi

ROOT = Path(__file__).parents[4]


def decode_steps(count: int, seed: int = 0, compiled: int = 0, num_seqs: int | None = None) -> pa.Table:
    """Steps that cost 20 ms, 0.1 ms per sequence and 0.5 us per token of context, with 1 % of noise.

    compiled: so many of the first took half a minute. num_seqs: always so many.
    """
    rng = np.random.default_rng(seed)
    seqs = rng.integers(1, 64, count) if num_seqs is None else np.full(count, num_seqs)
    context = seqs * rng.integers(20, 400, count)
    forward_ms = (20 + 0.1 * seqs + 0.0005 * context) * rng.normal(1, 0.01, count)
    forward_ms[:compiled] = 30_000
    columns = {"num_seqs": seqs, "num_tokens": seqs, "context_tokens": context}
    return pa.table({"kind": ["decode"] * count, **columns, "forward_ns": (forward_ms * 1e6).astype(np.int64)})


def test_the_fit_finds_what_a_step_costs() -> None:
    (found,) = step_fit.fit({"a": decode_steps(1000), "b": decode_steps(1000, seed=1)})
    assert found["kind"] == "decode"
    assert found["ms"]["constant"] == pytest.approx(20, rel=0.01)
    assert found["ms"]["num_seqs"] == pytest.approx(0.1, rel=0.1)
    assert found["ms"]["context_tokens"] == pytest.approx(0.0005, rel=0.05)
    assert found["median_abs_error_share"] < 0.01


def test_a_step_that_compiled_is_left_out_and_counted() -> None:
    (found,) = step_fit.fit({"a": decode_steps(500, compiled=5)})
    assert found["num_outliers"] >= 5 and found["num_outliers"] + found["num_steps"] == 500
    assert found["ms"]["constant"] == pytest.approx(20, rel=0.02)


def test_sizes_that_never_varied_have_no_term() -> None:
    assert set(step_fit.fit({"a": decode_steps(100, num_seqs=1)})[0]["ms"]) == {"constant", "context_tokens"}
    assert step_fit.fit({"a": decode_steps(5)}) == [] and step_fit.fit({}) == []


def run_folder(folder: Path, **metrics: Any) -> Path:
    """What a run of two points leaves, with a key where keys are."""
    for number in range(2):
        point = folder / f"point-{number}_x{number + 1}"
        point.mkdir(parents=True)
        (point / "schedule.json").write_text("{}")
        (point / "metrics.json").write_text(json.dumps({"rate": number + 1, "requests_total": 4}))
        steps.write(point / STEPS, decode_steps(50, seed=number))
    (folder / "metrics.json").write_text(json.dumps({"verdict": "pass", "allclose_pass_rate": 1.0, **metrics}))
    (folder / "config.yaml").write_text("serving:\n  http:\n    api_key: open-sesame\n")
    (folder / "agent-0.log").write_text("Bearer open-sesame\n")
    (folder / "captures").mkdir()
    (folder / "captures" / "prompt-0.npy").write_bytes(b"x" * 1000)
    (folder / "captures" / "manifest.json").write_text('{"model": "m"}')
    return folder


def test_the_document_has_everything_there_is(tmp_path: Path) -> None:
    found = summary.summarise(run_folder(tmp_path / "run"), "accept", "CPU", {"a": "b"}, ROOT)
    assert found["accuracy"] == {"allclose_pass_rate": 1.0} and found["verdict"]["verdict"] == "pass"
    assert [point["folder"] for point in found["points"]] == ["point-0_x1", "point-1_x2"]
    assert [(row["point"], row["num_steps"]) for row in found["step_times"]] == [("point-0_x1", 50), ("point-1_x2", 50)]
    assert found["step_times"][0]["forward_ms_p50"] > 20
    assert found["fit"][0]["kind"] == "decode" and found["served"] == {"model": "m"}
    assert "not verified on device" in found["note"]


def test_a_run_that_came_to_nothing_can_be_packed(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    found = summary.summarise(tmp_path / "run", "accept", "Ascend", {}, ROOT)
    assert found["points"] == found["step_times"] == found["fit"] == [] and found["doctor"] is None
    archive.write(tmp_path / "run", tmp_path / "out.zip", found, [])
    assert zipfile.ZipFile(tmp_path / "out.zip").namelist() == [archive.SUMMARY]


def test_the_zip_names_its_files_and_holds_no_key_and_no_logits(tmp_path: Path) -> None:
    run_dir = run_folder(tmp_path / "run")
    document = summary.summarise(run_dir, "accept", "CPU", {"serving.http.api_key": "open-sesame"}, ROOT)
    path = archive.write(run_dir, tmp_path / "accept.zip", document, ["open-sesame"])
    with zipfile.ZipFile(path) as packed:
        contents = {name: packed.read(name) for name in packed.namelist()}
    head = json.loads(contents.pop(archive.SUMMARY))
    assert head["files"].keys() == contents.keys()
    assert all(
        listed["sha256"] == hashlib.sha256(contents[name]).hexdigest() and listed["bytes"] == len(contents[name])
        for name, listed in head["files"].items()
    )
    assert {"config.yaml", "agent-0.log", "captures/manifest.json", "point-1_x2/steps.parquet"} <= contents.keys()
    assert not any(name.endswith(".npy") for name in contents)
    assert not any(b"open-sesame" in content for content in (*contents.values(), json.dumps(head).encode()))
    assert head["params"]["serving.http.api_key"] == "(redacted)"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["accept.zip", "run"]


def test_the_zip_holds_every_window_of_a_search_in_the_order_of_time(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    windows = [layout.window_folder(run_dir, number, 1.5 * number) for number in (9, 10, 100)]
    for window in windows:
        window.mkdir(parents=True)
        records.write(window / layout.RECORDS, [])
        steps.write(window / STEPS, decode_steps(50))
        (window / layout.METRICS).write_text('{"requests_total": 4}')
    (run_dir / layout.SEARCH).write_text("{}")
    aside = run_dir / "attempt-1"
    aside.mkdir()
    steps.write(aside / STEPS, decode_steps(50))
    document = summary.summarise(run_dir, "accept", "CPU", {}, ROOT)
    with zipfile.ZipFile(archive.write(run_dir, tmp_path / "accept.zip", document, [])) as packed:
        names = set(packed.namelist())
    wanted = {f"{window.name}/{name}" for window in windows for name in (layout.RECORDS, STEPS, layout.METRICS)}
    assert names == {archive.SUMMARY, layout.SEARCH, *wanted}
    in_order = ["window-09_x13.5", "window-10_x15", "window-100_x150"]
    assert [row["point"] for row in document["step_times"]] == in_order
    assert [point["folder"] for point in document["points"]] == in_order
    assert document["fit"][0]["num_steps"] + document["fit"][0]["num_outliers"] == 150


def test_steps_of_a_run_without_any(tmp_path: Path) -> None:
    assert step_table.breakdown(step_table.read(tmp_path)) == []


def test_an_external_server_cannot_be_accepted() -> None:
    config = compose_config(["acceptance.enabled=true", "serving=external", "serving.url=http://127.0.0.1:1"])
    assert acceptance.problems(config)[0].startswith("acceptance.enabled=true: must be false")
    assert acceptance.problems(compose_config([])) == []


def commands_of_the_page(program: str) -> list[list[str]]:
    """The arguments of every command in docs/on_device.md that runs this program."""
    text = (ROOT / "docs" / "on_device.md").read_text().replace("\\\n", " ")
    blocks = "\n".join(re.findall(r"^```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    return [line.removeprefix(program).split() for line in blocks.splitlines() if line.startswith(program)]


def test_the_page_s_commands_are_understood() -> None:
    launches = [compose_config(arguments) for arguments in commands_of_the_page("python launch.py ")]
    assert [config.name for config in launches] == ["accept_910b4", "accept_910b4", "contest_baseline"]
    assert all(config.acceptance.enabled for config in launches)
    assert [config.device.target for config in launches] == ["CPU", "Ascend", "Ascend"]
    assert launches[2].serving.batch.decode == 1 and launches[2].workload.arrivals.rate == 0.5
    (asked,) = commands_of_the_page("python -m serving.doctor ")
    assert compose_config(asked).device.dtype == "float16"
    page = (ROOT / "docs" / "on_device.md").read_text()
    rates, duration_s = launches[1].workload.sweep_rates, launches[1].workload.arrivals.duration_s
    assert ", ".join(f"`X={rate:g}`" for rate in rates) in page
    assert ", ".join(f"{rate * duration_s:g}" for rate in rates) in page


def test_the_experiment_fits_an_empty_910b4() -> None:
    """By the arithmetic of serving/memory/plan.py; not verified on device."""
    config = compose_config(["experiment=accept_910b4", "model.path=x"])
    assert config.acceptance.enabled and config.device.target == "Ascend" and config.device.dtype == "float16"
    stack = StackConfig(config.serving, config.model, config.device, "", "cache")
    chip = NpuSmi("26.0.rc1", [Npu(0, "910B4", "OK", 2900, 32768)])
    facts = Facts(machine=MachineFacts(ram_available_bytes=32 * 10**9), ascend=AscendFacts(npu_smi=chip))
    found = {finding.name: finding.status for finding in judge(stack, facts).findings}
    assert found["HBM 0"] is Status.ok and found["RAM"] is Status.ok
