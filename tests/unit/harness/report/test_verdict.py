import io

import pytest
from rich.console import Console

from harness.accuracy import compare_folders
from harness.charts import number
from harness.measure.metrics import Metrics, flat
from harness.report import AccuracyStatus, PointView, RunView, judge, print_verdict
from harness.report.view import figure
from tests.support.captures import random_rows, write_capture


def metrics(**changes):
    fields = {
        "requests_total": 60, "requests_finished": 60, "total_time_s": 41.234, "arrival_floor_s": 30.0,
        "requests_per_s": 1.455, "output_tokens_per_s": 54.7, "ttft_ms_p50": 123.45, "ttft_ms_p99": 1350.2,
        "e2el_ms_p99": 12095.0, "unsupported": ["ttft_ms_p99"],
    }  # fmt: skip
    return flat(Metrics()) | fields | changes


@pytest.fixture
def comparisons(tmp_path):
    """A comparison that passes and one that does not."""
    for folder, step in (("base", 0), ("good", 1e-4), ("bad", 0.5)):
        rows = random_rows(3, 50)
        rows[2] += step
        write_capture(tmp_path / folder, "p7", rows)
    return {name: compare_folders(tmp_path / "base", tmp_path / name).metrics for name in ("good", "bad")}


def test_a_run_passes_only_whole(comparisons):
    good = comparisons["good"]
    assert judge({"2/s": metrics()}, good).passed
    assert judge({"2/s": metrics()}, None, accuracy_wanted=False).passed
    assert not judge({}, good).passed
    assert not judge({"2/s": metrics()}, good, incomplete_reason="Ctrl-C").passed
    assert not judge({"2/s": metrics(requests_total=0, requests_finished=0)}, good).passed
    for end in ("rejected", "failed", "timed_out", "cancelled", "lost"):
        ill = judge({"2/s": metrics(requests_finished=58, **{f"requests_{end}": 2})}, good)
        assert ill.reasons == [f"of 60 requests 2 {end.replace('_', ' ')}"]
        assert not ill.passed


def test_requests_that_nobody_accounts_for_fail(comparisons):
    verdict = judge({"2/s": metrics(), "4/s": metrics(requests_finished=59)}, comparisons["good"])
    assert verdict.reasons == ["4/s: 60 requests, but 59 are accounted for"]


def test_accuracy_is_part_of_the_verdict(comparisons):
    points = {"2/s": metrics()}
    failed = judge(points, comparisons["bad"])
    assert (failed.passed, failed.accuracy, failed.mark) == (False, AccuracyStatus.failed, "accuracy failed")
    assert failed.reasons == [
        "accuracy failed: 2 of 3 rows all-close; first not passed: prompt p7, position 4: outside the tolerance"
    ]
    assert judge(points, comparisons["bad"], min_pass_rate=0.6).passed
    unknown = judge(points, None)
    assert (unknown.passed, unknown.accuracy, unknown.mark) == (False, AccuracyStatus.not_reached, "accuracy unknown")
    assert judge(points, comparisons["good"]).mark == ""
    assert not judge(points, comparisons["good"], bit_exact=True).passed


def printed(view, width=80):
    console = Console(width=width, file=io.StringIO())
    print_verdict(view, console)
    return console.file.getvalue()


def view(points, accuracy, **fields):
    return RunView("laptop", judge(points, accuracy), [PointView(*item) for item in points.items()], accuracy, **fields)


def test_table_of_one_point(comparisons):
    text = printed(view({"2 requests/s": metrics()}, comparisons["good"], files="outputs/x", ui="make ui"))
    assert text.split()[:2] == ["PASS", "laptop"]
    for part in (
        "60 = 60 finished + 0 rejected + 0 failed + 0 cancelled\n",
        "41.23 s (arrivals alone take 30.00 s)\n",
        "1.455 requests/s, 54.70 output tokens/s\n",
        "3 of 3 rows all-close",
        "at prompt p7, position 4",
        "files   outputs/x",
        "MLflow  make ui",
    ):
        assert part in "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
    row = next(line.split() for line in text.splitlines() if line.startswith("TTFT"))
    assert row == ["TTFT", "123.5", "–", "~1,350", "–"]
    assert "\x1b" not in text


def test_where_nothing_was_timed_no_empty_table_stands():
    text = printed(view({}, None))
    assert "nothing was timed" in text
    assert "TTFT" not in text


def test_failed_accuracy_stands_beside_every_time(comparisons):
    one = printed(view({"2/s": metrics()}, comparisons["bad"]))
    assert "41.23 s (arrivals alone take 30.00 s)  ✗ accuracy failed" in one
    many = printed(view({"2/s": metrics(), "4/s": metrics(), "8/s": metrics()}, comparisons["bad"]))
    assert many.count("41.2 ✗") == 3
    assert "✗ accuracy failed" in many


def test_table_fits_80_columns_without_cutting(comparisons):
    points = {f"{rate}/s": metrics(requests_total=1500, requests_finished=1499, requests_lost=1) for rate in (2, 128)}
    doubt = "the generator was late " * 8
    text = printed(view(points, comparisons["bad"], distrust=[doubt], files="outputs/" + "long/" * 30))
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert "1499/1,500" in text or "1,499/1,500" in text
    assert "2/s: of 1500 requests 1 lost" in text


def test_table_of_a_search_has_its_finding_and_the_share_that_met_the_slo(comparisons):
    full = metrics(requests_total=1500, requests_finished=1500, slo_attainment_chat=0.987, ttft_ms_p99=12345.6)
    points = {"10/s #1": full, "8.165/s #12": full}
    text = printed(view(points, comparisons["bad"], finding="99% meet it at 8.165 requests/s", slo="chat"))
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert "search    99% meet it at 8.165 requests/s" in text
    row = next(line for line in text.splitlines() if line.startswith("8.165/s #12"))
    assert row.rstrip().endswith(" 98.7")


def test_numbers_for_people():
    assert [number(value) for value in (0, 3, 0.5, 0.001234, 1.23456, 99.999, 1234.5, 56789.0, 1e-7, -2.5)] == [
        "0", "3", "0.5", "0.001234", "1.235", "100.00", "1,234", "56,789", "1e-07", "-2.500",
    ]  # fmt: skip
    assert figure({"x": None}, "x", "s") == "–"
    assert figure({}, "x") == "–"
    assert figure({"x": 2.0}, "x", "s") == "2.000 s"
