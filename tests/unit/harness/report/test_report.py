"""report.html: what it says, that it stands alone, and that it is written of whatever there is."""

from __future__ import annotations

import io
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from harness.measure import timeline
from harness.observe import steps
from harness.report import (
    accuracy_figures,
    figures,
    note,
    server_figures,
    verdict_table,
    write_report,
)
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


def test_intervals_are_bands_against_the_rate() -> None:
    views = [point(10.0), point(20.0)]
    for view in views:
        for name in ("ttft_ms_p90", "ttft_ms_p99"):
            view.metrics = {key: value for key, value in view.metrics.items() if not key.startswith(name)}
        view.metrics |= {"ttft_ms_p50_ci95_low": 1.0, "ttft_ms_p50_ci95_high": 99.0}
    ttft, *_ = figures.against_rate(views)
    assert ttft.svg.count("<polygon") == 1 and ttft.svg.count("<polyline") == 1 and ">100<" in ttft.svg


def test_a_request_that_never_began_has_a_bar_and_a_cross() -> None:
    lost = timeline.Phases(
        index=1, prompt_id="b", outcome="lost", sent_s=1.0, prefill_s=None, first_token_s=None, ended_s=2.0
    )
    whole = timeline.Phases(
        index=0, prompt_id="a", outcome="finished", sent_s=0.0, prefill_s=0.1, first_token_s=0.2, ended_s=2.0
    )
    (figure,) = figures.gantt([whole, lost])
    assert figure.svg.count("<rect") == 4 and figure.svg.count("l8 8m0") == 1
    assert figure.svg.count("b (lost): sent at 1.000 s, ended at 2.000 s") == 2
    assert figures.gantt([]) == []


def test_failures_are_marked_and_text_of_servers_is_not_markup(tmp_path: Path) -> None:
    html = page(tmp_path, run(point(20.0, failed=1), passed=False))
    assert ">FAIL<" in html and "did not finish" in html
    assert "&lt;i&gt;badly&lt;/i&gt;" in html and "<i>badly" not in html


def test_a_run_that_timed_nothing_still_has_a_page(tmp_path: Path) -> None:
    html = page(tmp_path, run(passed=False))
    assert "Nothing was timed." in html and "<h2>Latency" not in html


def test_many_requests_are_thinned_and_said_to_be() -> None:
    (figure,) = figures.gantt(timeline.phases(point(100.0, count=1000).records))
    assert "400 of 1,000 requests" in figure.note
    assert len(figure.svg) < 400_000


def test_parts_of_a_step_are_medians_by_kind(tmp_path: Path) -> None:
    parts = ("plan", "link_out", "agent_pre", "forward", "sample", "link_back", "publish")
    kinds = ["decode", "prefill", "decode", "decode"]
    columns = {f"{part}_ns": [1_000_000, 2_000_000, 5_000_000, 90_000_000] for part in parts}
    steps.write(tmp_path / STEPS, pa.table({"kind": kinds, **columns}))
    (figure,) = server_figures.step_parts(tmp_path)
    assert "decode, forward: 5.000 ms" in figure.svg and "prefill, link out: 2.000 ms" in figure.svg
    assert figure.svg.index("prefill") < figure.svg.index("decode") and figure.svg.count("<rect") == 2 * len(parts)
    steps.write(tmp_path / STEPS, pa.table({"kind": kinds}))
    assert server_figures.step_parts(tmp_path) == [], "an older server does not tell its parts"
    (tmp_path / STEPS).write_bytes(b"PAR1 no")
    assert server_figures.step_parts(tmp_path) == []


def test_accuracy_rows_are_drawn_by_position_and_occupancy(tmp_path: Path) -> None:
    columns = {"position": [8, 16], "occupancy": [1, 2], "max_abs_diff": [1e-6, 0.1], "passed": [True, False]}
    pq.write_table(pa.table({"prompt_id": ["a", "a"], **columns}), tmp_path / ACCURACY)
    by_position, by_occupancy = accuracy_figures.accuracy(tmp_path, 5e-3)
    assert by_position.svg.count("<circle") == 1 and by_position.svg.count("l8 8m0") == 1
    assert "position 16: 0.1<" in by_position.svg
    assert "atol 0.005" in by_position.svg and by_occupancy.title == "Accuracy by occupancy"
    pq.write_table(pa.table({"position": [8]}), tmp_path / ACCURACY)
    assert accuracy_figures.accuracy(tmp_path, 5e-3) == []
    (tmp_path / ACCURACY).write_bytes(b"PAR1 no")
    assert accuracy_figures.accuracy(tmp_path, 5e-3) == []


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
