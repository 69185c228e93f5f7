"""The three notebooks: stripped in the repository, and executed here on small runs made for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from analysis import differing, load_runs, load_tracked_runs
from tests.process.test_launch import ROOT, Launch

pytestmark = pytest.mark.process
NOTEBOOKS = sorted((ROOT / "analysis" / "notebooks").glob("*.ipynb"))
QUICK = ["experiment=smoke", "workload.arrivals.duration_s=1", "device.arithmetic_step_ms=2"]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of two variants (also two runs of one schedule) in MLflow, and a run of two rates."""
    folder = tmp_path_factory.mktemp("notebooks")
    for overrides in (["-m", "serving.batch.decode=1,4"], ["workload.sweep_rates=[10,20]", "tracking=none"]):
        launch = Launch(folder, *QUICK, *overrides)
        code, output = launch.wait(200)
        assert code == 0, output
    return folder


def execute(path: Path, outputs: Path, **environment: str) -> nbformat.NotebookNode:
    """Run all cells in a kernel that starts where the notebook lies, as Jupyter and VS Code do."""
    notebook = nbformat.read(path, as_version=4)
    own = {"PLUMBLINE_OUTPUTS": str(outputs), "IPYTHONDIR": str(outputs / ".ipython")}
    client = NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
    )
    client.execute(env=os.environ | own | environment)
    return notebook


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_stripped(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code and all(cell.outputs == [] and cell.execution_count is None for cell in code)
    assert "/" not in notebook.metadata.get("kernelspec", {}).get("name", "")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run_on_real_outputs(path: Path, outputs: Path) -> None:
    notebook = execute(path, outputs)
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum(output.get("data", {}).get("text/html", "").count("<svg style") for output in shown) >= 4
    errors = [output.get("text", "") for output in shown if output.get("name") == "stderr"]
    assert not errors, errors


def test_a_notebook_on_an_empty_folder_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CellExecutionError, match=r"no run folder.*python launch\.py experiment=smoke"):
        execute(NOTEBOOKS[0], tmp_path)


def shown_text(notebook: nbformat.NotebookNode) -> str:
    """What the cells printed and returned, as text."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return "".join(output.get("text", "") + output.get("data", {}).get("text/plain", "") for output in outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_jupyter_runs_them_from_the_roots_shell(path: Path, outputs: Path, tmp_path: Path) -> None:
    """`jupyter execute`, as in `make notebooks`: its kernel starts in the notebook's folder."""
    own = {"PLUMBLINE_OUTPUTS": str(outputs), "IPYTHONDIR": str(outputs / ".ipython")}
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | own
    jupyter = Path(sys.executable).with_name("jupyter")
    command = [jupyter, "execute", f"--output={tmp_path}/{{notebook_name}}", path.relative_to(ROOT)]
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    assert nbformat.read(tmp_path / path.name, as_version=4).cells[1].execution_count == 1


def test_a_corrupt_point_of_a_rate_sweep_is_named_and_the_rest_is_drawn(outputs: Path, tmp_path: Path) -> None:
    shutil.copytree(outputs / "smoke", tmp_path / "smoke")
    highest = next((tmp_path / "smoke").glob("*/*_x20/records.parquet"))
    highest.write_bytes(b"garbage")
    text = shown_text(execute(ROOT / "analysis" / "notebooks" / "rate_sweep.ipynb", tmp_path))
    assert f"1 points skipped {highest}" in text
    assert f"skipped: {highest}: cannot be read as Parquet" in text


def test_a_corrupt_variant_counts_in_the_sentence_on_those_that_passed(outputs: Path, tmp_path: Path) -> None:
    shutil.copytree(outputs / "smoke", tmp_path / "smoke")
    sweep = next((tmp_path / "smoke").glob("*_sweep"))
    shutil.copytree(sweep / "1", sweep / "2")
    (sweep / "2" / "metrics.json").write_text("{")
    text = shown_text(execute(ROOT / "analysis" / "notebooks" / "config_sweep.ipynb", tmp_path))
    assert text.count("2 of 2 readable variants passed; 1 skipped: 2") == 2


def test_folders_and_mlflow_tell_the_same(outputs: Path, tmp_path: Path) -> None:
    folders, tracked = load_runs(outputs), load_tracked_runs(outputs=outputs)
    sweep = folders[folders["name"].str.endswith("_sweep")].set_index("serving.batch.decode")
    assert len(folders) == 4, "two variants and two rates, and none of MLflow's copies"
    assert differing(folders[folders["point"] == ""]) == ["serving.batch.decode"]
    rows = tracked[tracked["parent_run_id"] != ""].set_index("serving.batch.decode")
    assert sorted(sweep.index) == sorted(rows.index) == [1, 4]
    for column in ("ttft_ms_p50", "output_tokens_per_s", "requests_finished"):
        assert sweep[column].sort_index().tolist() == pytest.approx(rows[column].sort_index().tolist())
    assert sorted(folders.loc[folders["point"] != "", "workload.arrivals.rate"]) == [10, 20]
    shutil.copytree(outputs / "smoke", tmp_path / "smoke")
    broken = next((tmp_path / "smoke").glob("*_sweep/0/metrics.json"))
    broken.write_text("[]")
    with pytest.warns(UserWarning, match="0/metrics.json: skipped"):
        assert load_runs(tmp_path).attrs["skipped"] == [str(broken.parent)]
