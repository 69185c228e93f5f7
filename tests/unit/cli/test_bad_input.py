"""Every mistake that can be known before the start: exit status 2, one line with field, value and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli import launch

BAD = {
    "model=nope": "model=nope: no such option; known:",
    "model.kind=gpt": "model.kind: Invalid value 'gpt', expected one of",
    "workload.arrivals.rate=0": "workload.arrivals.rate=0",
    "workload.arrivals.rate=-1": "workload.arrivals.rate=-1",
    "workload.arrivals.duration_s=0.01": "int(rate x duration_s) must be at least 1",
    "workload.sweep_rates=[1,0]": "workload.sweep_rates: rate=0",
    "serving.batch.decode=0": "serving.batch.decode=0",
    "serving.cache.num_blocks=4": "serving.cache.num_blocks=4",
    "workload.dataset.path=/nonexistent.jsonl": "/nonexistent.jsonl",
    "tracking.uri=http://127.0.0.1:9": "tracking.uri=http://127.0.0.1:9: cannot be reached",
    "tracking.uri=ftp://x": "tracking.uri=ftp://x: allowed are",
    "serving.http.host=0.0.0.0": "serving.http.api_key",
    "accuracy.num_prompts=0": "accuracy.num_prompts=0: must be at least 1",
    "accuracy.min_pass_rate=2": "accuracy.min_pass_rate=2",
    "accuracy.rate=-1": "accuracy.rate=-1.0: must be 0 or above",
    "accuracy.positions=[-1]": "accuracy.positions=[-1]: must be positions from 0",
    "accuracy.reference=baseline": "accuracy.baseline_path='': must name a folder of logits",
    "accuracy.dataset_path=/nonexistent.jsonl": "/nonexistent.jsonl",
    "serving=external": "serving.url=''",
    "workload.arrivals.rate=1e9": "workload.arrivals.rate=1000000000.0, duration_s=2.0: make 2,000,000,000 requests",
    "workload.arrivals.duration_s=1e300": "requests; at most 1,000,000",
    "workload.sweep_rates=[1,1e9]": "workload.sweep_rates: rate=1000000000.0, duration_s=2.0: make",
    "workload.arrivals.rate=1e9 workload.arrivals.process=closed": "requests; at most 1,000,000",
    "workload.num_warmup=100000000": "workload.num_warmup=100000000: must be 0 to 1000000",
    "accuracy.num_prompts=100000000": "accuracy.num_prompts=100000000: must be at most 1000000",
    "workload.arrivals.process=trace": "workload.arrivals.trace_path=: must be an existing file",
    "workload.num_workers=-1": "workload.num_workers=-1: must be 0 (as many as the rate needs) to 64",
    "workload.num_workers=10000": "workload.num_workers=10000: must be 0",
    "workload.slos.server.ttft_ms=-3": "workload.slos.server.ttft_ms=-3.0: must be milliseconds above 0",
    "workload.slos.server.tpot_ms=nan": "workload.slos.server.tpot_ms=nan: must be milliseconds above 0",
    "accuracy.positions=[99999]": "accuracy.positions=[99999]: must be at most 1022",
    "workload.slos.server.ttft_ms=inf": "workload.slos.server.ttft_ms=inf: must be milliseconds above 0",
    "workload.dataset.max_new_tokens=100000": "workload.dataset.max_new_tokens=100000: must be at most 1023",
    "accuracy.num_prompts=8 serving.fake=frontend": "serving.fake=frontend: answers without logits; use accuracy=none",
    "name=../../x": "name=../../x: must be a folder's name",
    "name=": "name=: must be a folder's name",
    "name=..": "name=..: must be a folder's name",
    "name=latest": "name=latest: must be none of",
    "serving.batch.decode=99999999999": "serving.batch.decode=99999999999: must be at most serving.queue",
    "serving.cache.num_blocks=1000000000": "serving.cache.num_blocks=1000000000: with serving.cache.block_size=16",
    "serving.cache.block_size=0": "serving.cache.block_size=0: must be at least 1",
    "serving.cache.num_blocks=1": "serving.cache.num_blocks=1: must be at least 2",
    "serving.cache.block_size=100000000": "serving.cache.block_size=100000000: must be at most model.seq_length=1024",
}  # fmt: skip


def errors_of(tmp_path: Path, capsys: pytest.CaptureFixture[str], *overrides: str) -> list[str]:
    """Run launch.py's checks in this process; nothing may have been started or written."""
    code = launch.main([*overrides, f"outputs_dir={tmp_path / 'outputs'}"])
    assert code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert not list((tmp_path / "outputs").glob("*/*"))
    return captured.err.strip().splitlines()


@pytest.mark.parametrize("override", BAD)
def test_one_line_names_the_field(tmp_path: Path, capsys: pytest.CaptureFixture[str], override: str) -> None:
    only_time = [] if override.startswith("accuracy") else ["accuracy=none"]
    lines = errors_of(tmp_path, capsys, "experiment=smoke", *only_time, *override.split(" "))
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ") and BAD[override] in lines[0]


@pytest.mark.parametrize("place", ["README.md", "README.md/below", "/proc/below", ""])
def test_results_need_a_folder(capsys: pytest.CaptureFixture[str], place: str) -> None:
    assert launch.main(["experiment=smoke", f"outputs_dir={place}"]) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"error: outputs_dir={place}: must be a folder that can be written to (")
    assert line.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b'{"prompt": "one"}\n{"prompt": \n', 2),
        (b'{"prompt": "one"}\n{"prompt": "caf\xe9"}\n', 2),
        (b'{"prompt": "one"}\n{"prompt": "two"}\n{"text": "three"}\n', 3),
    ],
)
def test_a_bad_prompt_file_names_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, line: int
) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_bytes(content)
    (error,) = errors_of(tmp_path, capsys, "experiment=smoke", f"workload.dataset.path={path}")
    assert f"{path}:{line}" in error


def test_every_variant_of_a_sweep_is_checked_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (error,) = errors_of(tmp_path, capsys, "-m", "experiment=smoke", "serving.batch.decode=4,0")
    assert "serving.batch.decode=0" in error
