"""report.html as a reader sees it: in a real browser, at a phone's and a laptop's width, light, dark and printed."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.report import write_report
from harness.run_folder import ACCURACY
from harness.sweep.page import write_sweep_report
from harness.sweep.table import SweepRow, mark
from tests.support.browser import LAPTOP, PHONE, browser, needs_browser
from tests.support.report import point, run

pytestmark = [pytest.mark.process, needs_browser]
# The narrowest text of the charts, as drawn, and what is wider than the page.
_TEXT_PX = (
    "Math.min(...[...document.querySelectorAll('svg text')]"
    ".filter(t => t.textContent).map(t => t.getBoundingClientRect().height))"
)
_TOO_WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
# Labels of one chart that are drawn over each other, and boxes (but for those of tables) that hide a part of a chart.
_OVERLAPS = """[...document.querySelectorAll('svg')].flatMap(svg => {
  const texts = [...svg.querySelectorAll('text')].filter(t => t.textContent);
  const boxes = texts.map(t => t.getBoundingClientRect());
  return texts.flatMap((t, i) => texts.slice(i + 1).filter((u, j) => {
    const a = boxes[i], b = boxes[i + 1 + j];
    return Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
      && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 4;
  }).map(u => t.textContent + ' / ' + u.textContent));
})"""
_CUT_CHARTS = "[...document.querySelectorAll('figure')].filter(e => e.scrollWidth > e.clientWidth + 1).length"
_TABLE = "document.querySelector('.variants').parentElement"
_BACKGROUND = "getComputedStyle(document.body).backgroundColor"
_LINE = "getComputedStyle(document.querySelector('polyline')).stroke"


async def test_a_sweep_s_report_is_readable_on_a_phone_too(tmp_path: Path) -> None:
    knobs = ["serving.batch.decode", "serving.cache.block_size", "serving.prefill.max_tokens"]
    rows = [
        SweepRow(number, dict.fromkeys(knobs, str(number)), dict(point(10.0 + number).metrics), number != 2, "too slow")
        for number in range(4)
    ]
    mark(rows)
    url = write_sweep_report(tmp_path, "laptop: sweep over three knobs", rows, knobs, "outputs/x").as_uri()
    async with browser(tmp_path / "profile") as page:
        for width in (PHONE, LAPTOP):
            await page.open(url, width, "dark")
            assert await page.value(_TOO_WIDE) <= 0, width
            assert await page.value(_TEXT_PX) >= 9, width
            assert await page.value(_OVERLAPS) == [] and await page.value(_CUT_CHARTS) == 0, width
            scrolls = await page.value(f"{_TABLE}.scrollWidth > {_TABLE}.clientWidth")
            told = await page.value("getComputedStyle(document.querySelector('.sideways')).display")
            assert (scrolls, told) == ((True, "block") if width == PHONE else (False, "none"))
            await page.value(f"{_TABLE}.scrollLeft = 1000")
            assert await page.value("document.querySelector('td.first').getBoundingClientRect().left") >= 0, width
        assert set(page.requests()) == {url} and page.complaints() == []


async def test_a_report_is_readable_on_every_page(tmp_path: Path) -> None:
    rows = {"position": [8, 16], "occupancy": [1, 2], "max_abs_diff": [0.0, 0.002], "passed": [True, True]}
    pq.write_table(pa.table(rows), tmp_path / ACCURACY)
    view = run(point(10.0, count=40), point(20.0, count=40, failed=2), passed=False)
    view.run_dir = tmp_path
    write_report(tmp_path / "report.html", view)
    url = (tmp_path / "report.html").as_uri()
    seen = {}
    async with browser(tmp_path / "profile") as page:
        for scheme in ("light", "dark"):
            for width in (PHONE, LAPTOP):
                await page.open(url, width, scheme)
                assert await page.value(_TOO_WIDE) <= 0, (scheme, width)
                assert await page.value(_TEXT_PX) >= 9, (scheme, width)
                assert await page.value(_OVERLAPS) == [] and await page.value(_CUT_CHARTS) == 0, (scheme, width)
                image = await page.screenshot(tmp_path / f"{scheme}-{width}.png")
                assert image.startswith(b"\x89PNG") and len(image) > 20_000
            seen[scheme] = (await page.value(_BACKGROUND), await page.value(_LINE))
        printed = await page.pdf()
        assert printed.startswith(b"%PDF") and printed.count(b"/Type /Page\n") + printed.count(b"/Type /Page ") >= 1
        assert set(page.requests()) == {url}
        assert page.complaints() == []
    assert seen["light"][0] == "rgb(255, 255, 255)"
    assert seen["light"][0] != seen["dark"][0] and seen["light"][1] != seen["dark"][1]
