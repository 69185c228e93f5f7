"""Sweeps: recognised plans, finished variants, time left, Pareto sets and effects, all without running anything."""

from __future__ import annotations

import dataclasses
import io
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
import pytest
from rich.console import Console

from harness import claim
from harness.run_folder import SWEEP
from harness.sweep import collect, plan, progress, reservation, session, table, variant
from harness.sweep.page import write_sweep_report
from harness.sweep.plan import PlannedVariant, SweepPlan
from harness.sweep.table import SweepRow
from harness.sweep.variant import VariantResult

PLAN = SweepPlan(
    "smoke",
    [PlannedVariant([f"serving.batch.decode={size}", "accuracy=none"], f"digest-{size}", 10.0) for size in (1, 4, 8)],
    "commit",
    knobs=["serving.batch.decode"],
)


HOLD = """
import pathlib, sys, time
from harness import claim
print(claim.hold(pathlib.Path(sys.argv[1])), flush=True)
time.sleep(60)
"""


def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def text_of(one: Console) -> str:
    assert isinstance(one.file, io.StringIO)
    return one.file.getvalue()


def place(sweep_dir: Path, number: int) -> session.Place:
    run_dir = sweep_dir / str(number)
    run_dir.mkdir(parents=True, exist_ok=True)
    return session.Place(sweep_dir, run_dir, number)


def run(at: session.Place, shown: Console, work: Callable[[], int]) -> VariantResult:
    return session.run_variant(at, PLAN.variants[at.number], True, shown, work)


def finishing(run_dir: Path, tokens_per_s: float, status: int = 0, reason: str = ""):
    def work() -> int:
        row = {
            "output_tokens_per_s": tokens_per_s, "e2el_ms_p50": 1000 / tokens_per_s, "incomplete_reason": reason,
            "verdict_reasons": "accuracy failed: 1 of 2 rows" if status == 1 else "",
            "accuracy_status": "failed" if status == 1 else "passed",
        }  # fmt: skip
        (run_dir / "metrics.json").write_bytes(orjson.dumps(row))
        return status

    return work


def test_the_same_sweep_is_found_only_while_it_is_unfinished(tmp_path: Path) -> None:
    assert plan.unfinished(tmp_path, PLAN) is None
    plan.save(tmp_path / "a", PLAN)
    assert plan.load(tmp_path / "a") == PLAN
    assert plan.unfinished(tmp_path, PLAN) == tmp_path / "a"
    assert plan.unfinished(tmp_path, dataclasses.replace(PLAN, source="other commit")) is None
    assert plan.unfinished(tmp_path, dataclasses.replace(PLAN, variants=PLAN.variants[:2])) is None
    plan.save(tmp_path / "a", dataclasses.replace(PLAN, ended="interrupted"))
    assert plan.unfinished(tmp_path, PLAN) == tmp_path / "a"
    plan.save(tmp_path / "a", dataclasses.replace(PLAN, ended="finished"))
    assert plan.unfinished(tmp_path, PLAN) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 99}', b'{"format": 1, "variants": 3}'])
def test_a_plan_that_cannot_be_read_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / SWEEP).write_bytes(content)
    assert plan.load(tmp_path) is None


def test_knobs_are_the_keys_that_differ_and_name_the_variants() -> None:
    both = [["a.rate=1", "b.rate=2", "c.size=4", "d=x"], ["a.rate=2", "b.rate=2", "c.size=8", "d=x"]]
    assert plan.swept_keys(both) == ["a.rate", "c.size"]
    assert plan.variant_name(both[0], ["a.rate", "c.size"]) == "rate=1 size=4"
    assert plan.variant_name(both[0], ["a.rate", "b.rate"]) == "a.rate=1 b.rate=2"


def test_a_failing_variant_is_recorded_and_an_interrupted_sweep_goes_on(tmp_path: Path) -> None:
    shown = console()
    sweep_dir = session.begin(tmp_path, PLAN, True, shown)
    assert sweep_dir.parent == tmp_path and sweep_dir.name.endswith("_sweep") and "at least 30 s left" in text_of(shown)
    at = [place(sweep_dir, number) for number in range(3)]
    good = run(at[0], shown, finishing(at[0].run_dir, 10.0))
    assert (good.exit_status, good.complete) == (0, True)

    def crash() -> int:
        (at[1].run_dir / "half.log").write_text("so far")
        raise RuntimeError("out of memory\nand a long story")

    bad = run(at[1], shown, crash)
    assert (bad.exit_status, bad.reason) == (3, "RuntimeError: out of memory")
    assert "Traceback" in (at[1].run_dir / "error.log").read_text()
    assert "2 of 3 variants ended, 1 of them failed" in text_of(shown)
    with pytest.raises(KeyboardInterrupt):
        run(at[2], shown, lambda: (_ for _ in ()).throw(KeyboardInterrupt))

    again = console()
    assert session.begin(tmp_path, PLAN, True, again) == sweep_dir
    assert "goes on with the interrupted sweep" in text_of(again)
    untouched = run(at[0], again, lambda: pytest.fail("was finished before"))
    assert untouched == good
    repaired = run(at[1], again, finishing(at[1].run_dir, 20.0))
    assert repaired.complete and (at[1].run_dir / "attempt-1" / "half.log").read_text() == "so far"
    assert session.begin(tmp_path, PLAN, False, again) != sweep_dir


def test_a_sweep_that_another_command_runs_is_not_joined(tmp_path: Path) -> None:
    plan.save(tmp_path / "a", PLAN)
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "a")], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"True\n"
        shown = console()
        assert session.begin(tmp_path, PLAN, True, shown) != tmp_path / "a"
        assert "is being run by another command" in text_of(shown)
        other.kill()
    later_s = time.time() + 10
    os.utime(tmp_path / "a" / SWEEP, (later_s, later_s))  # the newest
    assert session.begin(tmp_path, PLAN, True, console()) == tmp_path / "a"


def test_no_folder_is_given_twice(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: claim.claim(tmp_path / "runs"), range(16)))
    assert len(set(folders)) == 16 and all(folder.is_dir() for folder in folders)


def test_another_configuration_in_the_same_place_is_run(tmp_path: Path) -> None:
    at = place(tmp_path, 0)
    plan.save(tmp_path, PLAN)
    run(at, console(), finishing(at.run_dir, 10.0))
    assert variant.finished_before(at.run_dir, PLAN.variants[0].digest) is not None
    assert variant.finished_before(at.run_dir, "another") is None


def test_time_left_is_the_loads_and_what_variants_took_beyond_them() -> None:
    ended = [VariantResult(0, [], "", 0, 16.0), VariantResult(1, [], "", 3, 1.0, "died")]
    assert progress.time_left_s(PLAN, []) == 30.0
    assert progress.time_left_s(PLAN, ended) == pytest.approx(16.0)
    assert progress.sentence(PLAN, ended) == "2 of 3 variants ended, 1 of them failed; about 16 s left"
    assert [progress.duration(s) for s in (8, 240, 7500)] == ["8 s", "4 min", "2 h 5 min"]


def test_a_search_is_told_only_of_variants_that_passed(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_bytes(orjson.dumps({"output_tokens_per_s": 5, "ttft_ms_p50": 2.0}))
    passed, failed = VariantResult(0, [], "", 0, 1.0), VariantResult(0, [], "", 1, 1.0)
    assert session.objective(passed, tmp_path, ["output_tokens_per_s"]) == 5.0
    assert session.objective(passed, tmp_path, ["output_tokens_per_s", "ttft_ms_p50"]) == (5.0, 2.0)
    assert session.objective(failed, tmp_path, ["output_tokens_per_s"]) is None
    assert session.objective(passed, tmp_path, ["no_such_metric"]) is None


def test_no_device_is_given_twice(tmp_path: Path) -> None:
    waited = []

    class Enough(Exception):
        """Ends a wait that would not end by itself."""

    def on_wait() -> None:
        waited.append(1)
        raise Enough

    with reservation.reserved(tmp_path, [0, 1, 2], 2, on_wait) as first:
        assert first == [0, 1]
        with reservation.reserved(tmp_path, [0, 1, 2], 1, on_wait) as second:
            assert second == [2]
        with pytest.raises(Enough), reservation.reserved(tmp_path, [0, 1, 2], 2, on_wait):
            pytest.fail("a device was given twice")
    with reservation.reserved(tmp_path, [0, 1, 2], 3, on_wait) as all_of_them:
        assert all_of_them == [0, 1, 2]
    assert len(waited) == 1


def row(number: int, throughput: float, latency: float, passed: bool = True, **knobs: str) -> SweepRow:
    return SweepRow(number, knobs, {"output_tokens_per_s": throughput, "e2el_ms_p50": latency}, passed)


def test_the_pareto_set_holds_what_nothing_beats_and_nothing_that_failed() -> None:
    rows = [row(0, 10, 100), row(1, 20, 200), row(2, 15, 250), row(3, 99, 1, passed=False), row(4, 10, 100)]
    table.mark(rows)
    assert [one.pareto for one in rows] == [True, True, False, False, True]
    assert "output_tokens_per_s" in rows[1].best_at and not rows[3].best_at


def test_effects_are_means_per_value_in_the_order_of_size() -> None:
    rows = [
        row(0, 10, 1, batch="16", block="8"), row(1, 30, 1, batch="4", block="8"),
        row(2, 20, 1, batch="16", block="16"), row(3, 40, 1, batch="4", block="16"),
        row(4, 999, 1, False, batch="4", block="8"),
    ]  # fmt: skip
    by_batch, by_block = table.effects(rows, ["batch", "block"], ["output_tokens_per_s"])
    assert list(by_batch.means.items()) == [("4", 35.0), ("16", 15.0)] and by_batch.groups["4"] == [30.0, 40.0]
    assert list(by_block.means.items()) == [("8", 20.0), ("16", 30.0)] and by_block.ratio == 1.5


def test_the_report_marks_accuracy_failures_and_what_never_ran(tmp_path: Path) -> None:
    plan.save(tmp_path, PLAN)
    for number, status in ((0, 0), (1, 1)):
        at = place(tmp_path, number)
        run(at, console(), finishing(at.run_dir, 10.0 * (number + 1), status))
    rows = collect.rows(tmp_path, PLAN)
    html = write_sweep_report(tmp_path, "smoke: sweep", rows, PLAN.knobs, "outputs/x").read_text()
    assert "1 of 3 passed" in html and "✗ accuracy" in html and "✗ not run" in html
    assert "accuracy failed: 1 of 2 rows" in html and "decode=1" in html
    assert "var(--vermillion)" in html


def test_a_sweep_with_nothing_in_it_still_has_a_report(tmp_path: Path) -> None:
    rows = collect.rows(tmp_path, PLAN)
    assert "No variant passed" in write_sweep_report(tmp_path, "t", rows, PLAN.knobs, "x").read_text()
