import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.run.environment import environment, git
from harness.tracking import Dataset, NotTracked, RunStatus, TrackedRun, receipt
from harness.tracking.tracked_run import flatten, load, numbers, save, texts
from harness.tracking.upload import main

ROOT = Path(__file__).parents[4]
RUN = TrackedRun(
    name="laptop", started_ms=1_000, ended_ms=61_000, status=RunStatus.failed, params={"serving.batch.decode": "8"},
    metrics={"ttft_ms_p50": 12.5}, tags={"verdict": "fail"}, note="**fail**", artifacts=["records.parquet"],
    series="series.parquet", datasets=[Dataset("prompts.jsonl", "ab12", "conf/data/prompts.jsonl", profile={"n": 3})],
    children=[TrackedRun("2/s", 1_000, 2_000, RunStatus.killed, metrics={"a": 1.0})],
)  # fmt: skip


def test_configuration_becomes_flat_and_stable_parameters():
    config = {"b": {"y": [1, 2], "x": None}, "a": 1.5, "c": {"d": {"e": True}}, "name(odd)": "v"}
    flat = flatten(config)
    assert flat == {"a": "1.5", "b.x": "", "b.y": "[1, 2]", "c.d.e": "true", "name_odd_": "v"}
    assert list(flat) == list(flatten(dict(reversed(config.items()))))


@given(
    st.dictionaries(
        st.text(), st.none() | st.text() | st.floats() | st.integers() | st.booleans() | st.lists(st.text())
    )
)
def test_every_flat_metric_is_a_number_a_text_or_left_out(metrics):
    sent, told = numbers(metrics), texts(metrics)
    assert not sent.keys() & told.keys()
    assert all(math.isfinite(value) for value in sent.values())
    assert {name for name, value in metrics.items() if isinstance(value, bool)} <= sent.keys()


def test_a_kept_record_comes_back_whole(tmp_path):
    save(tmp_path, RUN)
    assert load(tmp_path) == RUN
    assert [path.name for path in tmp_path.iterdir()] == ["tracking.json"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "holds no tracking.json"),
        ("{", "cannot be read"),
        ("[]", "is not of format 1"),
        ('{"format": 0}', "is not of format 1"),
        ('{"format": 1, "name": "x"}', "cannot be read"),
        (
            '{"format": 1, "name": "x", "started_ms": 1, "ended_ms": 2, "status": "DONE", "children": []}',
            "cannot be read",
        ),
    ],
)
def test_folders_without_a_readable_record_are_named(tmp_path, capsys, content, says):
    if content is not None:
        (tmp_path / "tracking.json").write_text(content)
    with pytest.raises(NotTracked, match=says):
        load(tmp_path)
    assert main([str(tmp_path), "--outputs", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert says in message
    assert str(tmp_path) in message
    assert message.count("\n") == 1


def test_an_upload_goes_where_the_run_was_to_go(tmp_path, capsys):
    save(tmp_path, replace(RUN, artifacts=[], series=""))
    receipt.write(tmp_path, receipt.Receipt("http://127.0.0.1:9", "plumbline"))
    assert main([str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        "tracking.uri=http://127.0.0.1:9: cannot be reached ([Errno 111] Connection refused)\n"
    )
    receipt.write(tmp_path, receipt.Receipt("http://me:***@127.0.0.1:9", "plumbline"))
    assert main([str(tmp_path)]) == 2
    assert "its password was not kept" in capsys.readouterr().err


def test_environment_says_what_a_result_depends_on(tmp_path):
    facts = environment(ROOT)
    assert {
        "env.python",
        "env.cpu",
        "env.cores",
        "env.git_commit",
        "env.git_dirty",
        "env.package.numpy",
    } <= facts.keys()
    assert all(isinstance(value, str) and value for value in facts.values())
    assert git(tmp_path) == {"git_commit": "unknown", "git_dirty": "unknown"}


def test_git_tells_a_changed_tree(tmp_path):
    def run(*command):
        subprocess.run(["git", "-C", tmp_path, *command], check=True, capture_output=True)

    run("init")
    (tmp_path / "a").write_text("1")
    run("add", "a")
    run("-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-m", "a")
    facts = git(tmp_path)
    assert (len(facts["git_commit"]), facts["git_dirty"]) == (40, "false")
    (tmp_path / "a").write_text("2")
    assert git(tmp_path)["git_dirty"] == "true"


def test_bad_input_is_found_without_importing_mlflow(tmp_path):
    """MLflow takes seconds to import; a typo must not."""
    code = (
        "import sys\nfrom harness.tracking.upload import main\n"
        f"status = main([{str(tmp_path)!r}, '--uri', 'http://127.0.0.1:9'])\n"
        "assert status == 2 and 'mlflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
