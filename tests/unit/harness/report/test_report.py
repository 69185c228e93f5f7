"""report.html: what it says, that it stands alone, and that it is written of whatever there is."""

from __future__ import annotations

import io
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console

from harness.observe import steps
from harness.report import evidence, figures, note, palette, verdict_table, write_report
from harness.report.axis import Axis, axis, tick_text, tick_texts
from harness.report.svg import Chart
from harness.run_folder import ACCURACY, STEPS
from tests.support.report import point, run


def page(tmp_path: Path, view: object) -> str:
    write_report(tmp_path / "report.html", view)  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.glob("*report*")] == ["report.html"]
    return (tmp_path / "report.html").read_text()


class Outside(HTMLParser):
    """Collects everything a browser would fetch, and whether tags are balanced."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [f"{name}={value}" for name, value in attrs if name in ("src", "href", "srcset", "data")]
        if tag not in ("meta", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A self-closed SVG element."""


def test_a_run_s_page_has_every_part_and_needs_no_network(tmp_path: Path) -> None:
    html = page(tmp_path, run(point(20.0)))
    parser = Outside()
    parser.feed(html)
    assert parser.fetched == [] and parser.open == []
    assert "url(" not in html and "@import" not in html and "<script" not in html
    for title in ("TTFT", "TPOT", "ITL", "E2EL", "Throughput over time", "Occupancy over time", "Timeline of requests"):
        assert f"<figcaption><b>{title}</b>" in html
    assert "20 = 20 finished + 0 rejected" in html and ">PASS<" in html
    assert html.count("var(--purple)") >= 20  # a prefill bar per request
    assert "step times are not among" in html and "Against the rate" not in html


def test_several_rates_are_drawn_against_the_rate(tmp_path: Path) -> None:
    html = page(tmp_path, run(point(10.0), point(20.0)))
    assert "TTFT against rate" in html and "Throughput against rate" in html
    assert html.count("Timeline of requests</b>") == 2


def test_failures_are_marked_and_text_of_servers_is_not_markup(tmp_path: Path) -> None:
    html = page(tmp_path, run(point(20.0, failed=1), passed=False))
    assert ">FAIL<" in html and "did not finish" in html
    assert "&lt;i&gt;badly&lt;/i&gt;" in html and "<i>badly" not in html


def test_a_run_that_timed_nothing_still_has_a_page(tmp_path: Path) -> None:
    html = page(tmp_path, run(passed=False))
    assert "Nothing was timed." in html and "<h2>Latency" not in html


def test_many_requests_are_thinned_and_said_to_be() -> None:
    (figure,) = figures.gantt(point(100.0, count=1000))
    assert "400 of 1,000 requests" in figure.note
    assert len(figure.svg) < 400_000


def test_step_times_are_medians_of_the_window_s_steps(tmp_path: Path) -> None:
    times_ms = {"step": [9, 9, 9], "plan": [1, 1, 7], "forward": [5, 5, 80], "device_gap": [2, 2, 2]}
    columns = {f"{part}_ns": [ms * 1_000_000 for ms in values] for part, values in times_ms.items()}
    steps.write(tmp_path / STEPS, pa.table({"kind": ["decode"] * 3, **columns}))
    found = evidence.step_times(tmp_path)
    assert found == {"decode": {"plan": 1.0, "forward": 5.0}}
    assert "decode, forward: 5" in figures.step_times(found)[0].svg
    (tmp_path / steps.FILE_NAME).write_text("{")
    assert evidence.step_times(tmp_path) == {}


def test_accuracy_rows_are_drawn_by_position_and_occupancy(tmp_path: Path) -> None:
    columns = {"position": [8, 16], "occupancy": [1, 2], "max_abs_diff": [1e-6, 0.1], "passed": [True, False]}
    pq.write_table(pa.table({"prompt_id": ["a", "a"], **columns}), tmp_path / ACCURACY)
    rows = evidence.accuracy_rows(tmp_path)
    by_position, by_occupancy = figures.accuracy_rows(rows, 5e-3)
    assert by_position.svg.count("<circle") == 1 and by_position.svg.count("l8 8m0") == 1
    assert "atol 0.005" in by_position.svg and by_occupancy.title == "Accuracy by occupancy"
    (tmp_path / ACCURACY).write_bytes(b"PAR1 no")
    assert evidence.accuracy_rows(tmp_path) == {}


@example([45.0, 2.9615915180116804e-307], False, None)
@given(
    st.lists(st.floats(-1e12, 1e12, allow_subnormal=False), min_size=1), st.booleans(), st.sampled_from([False, None])
)
def test_every_value_has_a_place_and_ticks_are_few(values: list[float], zero: bool, log: bool | None) -> None:
    one = axis("x", values, zero=zero, log=log)
    places = [one.place(value) for value in values]
    assert all(-1e-9 <= place <= 1 + 1e-9 for place in places)
    assert np.all(np.diff([one.place(value) for value in sorted(values)]) >= -1e-9)
    ticks = one.ticks()
    assert len(ticks) <= 8 and all(math.isfinite(tick) and tick_text(tick) for tick in ticks)


@given(st.floats(1e-9, 1e9), st.floats(1e-7, 1.0))
def test_labels_of_ticks_differ_however_close_the_values_are(low: float, spread: float) -> None:
    ticks = axis("x", [low, low * (1 + spread)], zero=False).ticks()
    assert len(set(tick_texts(ticks))) == len(ticks)
    assert tick_texts([2.5e-4, 5e-4, 7.5e-4]) == ["2.5e-4", "5e-4", "7.5e-4"]


def test_an_axis_may_be_kept_from_showing_noise_large() -> None:
    one = axis("x", [155.15, 155.23], zero=False, spread=0.1)
    assert one.high - one.low >= 15 and one.place(155.19) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("high", [1.0, 123456.0, 0.00123])
def test_the_margin_follows_from_the_labels(high: float) -> None:
    svg = Chart("t", axis("x", [0, 1]), Axis("largest |difference|", high * 0.9999, high)).render()
    labels = re.findall(r'<text x="([\d.]+)" y="[\d.]+" text-anchor="end">([^<]+)<', svg)
    assert labels and all(float(right) - 5 * len(text) > 16 for right, text in labels)  # the title's band is 16 px


def test_preemptions_are_told_where_the_server_counts_them(tmp_path: Path) -> None:
    one = point(20.0)
    view = run(one)
    assert "preemption" not in page(tmp_path, view) + note(view)
    one.metrics = {**one.metrics, "server_preemptions": 9.0, "server_kv_use_max": 1.0}
    shown = io.StringIO()
    Console(file=shown, width=80).print(verdict_table(view))
    for text in (page(tmp_path, view), note(view), shown.getvalue()):
        assert "9 preemptions; the KV cache was at most 100 % full" in text
    two = point(10.0)
    two.metrics = {**two.metrics, "server_preemptions": 0.0}
    shown = io.StringIO()
    Console(file=shown, width=80).print(verdict_table(run(two, one)))
    assert "20 requests/s, constant: 9 preemptions" in " ".join(shown.getvalue().split())
    assert "no preemptions" in page(tmp_path, run(two, one)) and "no preemptions" not in shown.getvalue()


def test_the_palette_is_one() -> None:
    assert set(palette.ORDER) == set(palette.LIGHT) == set(palette.DARK)
    assert set(re.findall(r"--(\w+):", palette.css())) == set(palette.LIGHT)
