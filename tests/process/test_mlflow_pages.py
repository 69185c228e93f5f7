"""MLflow's own pages, as the user of a sweep sees them: five variants side by side in a real browser."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import report
from harness.config import TrackingConfig
from harness.measure import window_series
from harness.run import tracked
from harness.run_folder import SERIES
from harness.tracking import RunStatus, TrackedRun, open_tracker
from harness.tracking.tracked_run import numbers
from tests.support.browser import LAPTOP, browser, needs_browser
from tests.support.report import point, run

pytestmark = [pytest.mark.process, needs_browser]
SIZES = (1, 2, 4, 8, 16)


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    """A sweep's five variants in a SQLite store; their run ids."""
    tracker = open_tracker(TrackingConfig(), tmp_path)
    assert tracker is not None
    parent = tracker.sweep_parent(tmp_path / "sweep", "smoke sweep")
    ids = []
    for size in SIZES:
        folder = tmp_path / str(size)
        folder.mkdir()
        one = point(float(size))
        window_series.write(folder, one.records, folder / "none")
        figures = tracked._headline_first(numbers(one.metrics))
        logged = tracker.log_run(
            folder,
            TrackedRun(
                f"decode={size}", 1_700_000_000_000, 1_700_000_060_000, RunStatus.finished,
                params={"serving.batch.decode": str(size), "serving.policy": "prefill_first"}, metrics=figures,
                note=report.note(run(one)), series=SERIES, parent_run_id=parent,
            ),
        )  # fmt: skip
        ids.append(logged.run_id)
    return ids


@pytest.fixture
def pages(tmp_path: Path, runs: list[str]) -> Iterator[str]:
    """Address of MLflow's server on that store."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    store = ["--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db"]
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", *store, "--port", str(port), "--workers", "1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"},
    )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"{url}/health", timeout=5).close()
                break
            except OSError:
                assert server.poll() is None, "the server ended"
                time.sleep(0.5)
        yield url
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


async def test_comparing_five_variants_tells_the_sweep_s_story(tmp_path: Path, runs: list[str], pages: str) -> None:
    wanted = urllib.parse.urlencode({"runs": json.dumps(runs), "experiments": '["1"]'})
    async with browser(tmp_path / "profile") as page:
        await page.open(f"{pages}/#/compare-runs?{wanted}", LAPTOP)
        text = await page.until("document.body.innerText.includes('Run Name') && document.body.innerText", 90)
        assert "Comparing 5 Runs" in text
        assert all(f"decode={size}" in text for size in SIZES)
        # What differs is chosen for the parallel coordinates without a click, and the headline figure beside it.
        chosen = text.split("Parameters:", 1)[1].split("Clear All", 1)[0]
        assert "serving.batch.decode" in chosen and "serving.policy" not in chosen
        assert "output_tokens_per_s" in chosen

        await page.open("about:blank", LAPTOP)
        await page.open(f"{pages}/#/experiments/1/runs/{runs[0]}", LAPTOP)
        for words in ("PASS – smoke: tiny on cpu", "20 = 20 finished", "smoke sweep"):
            await page.until(f"document.body.innerText.includes({json.dumps(words)})", 60)
