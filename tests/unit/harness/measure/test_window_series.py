"""Time series for tracking: of the records and the machine, on one grid."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import report
from harness.measure import window_series
from harness.observe import series_file
from harness.run_folder import SERIES
from tests.support.report import point, request, run


def test_requests_and_machine_share_a_grid_of_seconds(tmp_path: Path) -> None:
    samples = [series_file.Sample("cpus.machine", at_s, value) for at_s, value in ((-1.0, 9.0), (0.2, 1.0), (0.7, 2.0))]
    series_file.write(tmp_path / "telemetry.parquet", samples)
    assert window_series.write(tmp_path, [request(n, 10.0) for n in range(20)], tmp_path / "telemetry.parquet")
    found = series_file.read(tmp_path / SERIES)
    assert ("system/cpus.machine", 1.0, 1.5) in found
    tokens = [sample.value for sample in found if sample.metric == "series.output_tokens_per_s"]
    assert sum(tokens) == 20 * 6
    assert {sample.time_s for sample in found} == {1.0, 2.0, 3.0}


def test_ten_minutes_stay_within_the_number_of_points(tmp_path: Path) -> None:
    assert window_series.write(tmp_path, [request(n, 1.0) for n in range(600)], tmp_path / "none")
    found = series_file.read(tmp_path / SERIES)
    assert len(found) == 4 * len({sample.time_s for sample in found}) <= 4 * (window_series.MAX_POINTS + 1)


@pytest.mark.parametrize("content", [None, b"not parquet"])
def test_nothing_to_tell_writes_nothing(tmp_path: Path, content: bytes | None) -> None:
    if content:
        (tmp_path / "telemetry.parquet").write_bytes(content)
    assert not window_series.write(tmp_path, [], tmp_path / "telemetry.parquet")
    assert not (tmp_path / SERIES).exists()


def test_a_note_tells_the_verdict_first_and_every_point() -> None:
    text = report.note(run(point(10.0), point(20.0, failed=1), passed=False))
    assert text.startswith("## FAIL – smoke: tiny on cpu\n\n- ✗ of 20 requests 1 failed")
    assert text.count("| TTFT |") == 2 and "20 = 19 finished + 0 rejected + 1 failed" in text
