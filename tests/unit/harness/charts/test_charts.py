"""Charts: every value has a place, labels can be read and told apart, values appear under the pointer."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness import charts
from harness.charts import Axis, Chart, Dots, Figure, Figures, Line, Span, axis, palette
from harness.charts.labels import tick_text, tick_texts
from harness.charts.svg import _few_enough

X, Y = Axis("x", 0.0, 10.0), Axis("y", 0.0, 1.0)


def tips(figure: Figure) -> list[str]:
    """What appears under the pointer."""
    return re.findall("<title>(.*?)</title>", figure.svg)


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
    margin = int(re.findall(r"padding:.* (\d+)px\"", svg)[0])
    labels = re.findall(r'<text x="-5" y="[\d.]+" text-anchor="end">([^<]+)<', svg)
    assert labels and all(margin - 5 - 6 * len(text) > 10 for text in labels)  # the title's band


def test_names_too_long_for_a_phone_are_shortened() -> None:
    names = ["prefill_first", "decode_first", "balanced", "original"]
    labels = [text for _, text in _few_enough(Axis("policy", -0.5, 3.5, names=tuple(names)), 280.0)]
    assert all(len(text) <= 9 for text in labels) and labels[0] == "prefill_…" and labels[2] == "balanced"


def test_rows_are_drawn_from_the_top_down() -> None:
    content = [[Span(0.0, 2.0, "blue", "first")], [Span(2.0, 5.0, "blue", "second", failed=True)]]
    svg = charts.spans("t", X, content, [], names=["a", "b"]).svg
    tops = [float(top) for top in re.findall(r'<rect x="[\d.]+%" y="([\d.]+)"', svg)]
    assert tops[0] < tops[1] and svg.count("l8 8m0") == 1
    assert re.findall(r'width="([\d.]+)%" height', svg) == ["20.00", "30.00"]


def test_a_line_leaves_out_what_is_unknown_and_shows_its_values() -> None:
    figure = charts.lines("t", X, Y, {"a": Line([1, 2, 3], [0.5, math.nan, 1.0]), "b": Line([1, 2], [0.0, 0.1])})
    assert tips(figure)[:2] == ["a: 0.5 at 1.000", "a: 1.000 at 3.000"]
    assert re.findall('polyline points="(.*?)"', figure.svg)[0] == "10.00,100.0 30.00,0.0"
    assert figure.legend == [("a", "blue"), ("b", "orange")]
    many = charts.lines("t", X, Y, {"a": Line(np.linspace(0, 10, 1000), np.linspace(0, 1, 1000))})
    assert 20 <= len(tips(many)) <= 30 and many.legend == []


def test_a_band_is_drawn_where_the_interval_is_known() -> None:
    line = Line([0, 5, 10], [0.5, 0.5, 0.5], low=[0.25, math.nan, 0.0], high=[0.75, math.nan, 1.0])
    svg = charts.lines("t", X, Y, {"a": line}).svg
    assert re.findall('polygon points="(.*?)"', svg) == ["0.00,150.0 100.00,200.0 100.00,0.0 0.00,50.0"]


def test_an_ecdf_rises_from_0_to_1_however_many_samples() -> None:
    figure = charts.ecdf("TTFT", "TTFT, ms", {"a": np.arange(5000.0)[::-1], "b": np.empty(0)})
    (points,) = re.findall('polyline points="(.*?)"', figure.svg)
    ys = [float(point.split(",")[1]) for point in points.split()]
    assert ys[0] == 200 and ys[-1] == 0 and ys == sorted(ys, reverse=True) and len(ys) <= 400
    assert any(re.fullmatch(r"a: \d+(\.\d)? % at or below [\d,.]+", tip) for tip in tips(figure))


def test_bars_show_what_they_are_the_mean_of() -> None:
    figure = charts.bars("t", "knob", "ms", {"1": 2.0, "4": 3.0}, single={"1": [1.0, 3.0], "4": [3.0]})
    assert tips(figure) == ["1: 2.000", "1: 1.000", "1: 3.000", "4: 3.000"], "one value is no more than its bar"


def test_a_front_leaves_out_what_ties() -> None:
    edge = charts.front([(10.0, 5.0), (30.0, 9.0), (30.0, 8.0), (20.0, 8.5)], "blue")
    assert list(zip(edge.xs, edge.ys, strict=True)) == [(30.0, 8.0), (10.0, 5.0)]


def test_what_servers_say_is_not_markup() -> None:
    dots = Dots([1.0], [0.5], ["<b>x</b>"], "blue", crosses=True)
    html = Figures([charts.scatter("<i>t</i>", X, Y, {"a<b": dots}, "1 < 2", level=(0.5, "<limit>"))])._repr_html_()
    assert "<b>x" not in html and "<i>t" not in html and "&lt;limit&gt;" in html
    ElementTree.fromstring(html[html.index("<div") :])  # well formed, or it raises


def test_the_palette_has_both_schemes() -> None:
    light, dark = (re.findall(r"--(\w+):", scheme) for scheme in palette.css().splitlines()[:2])
    assert light == dark and set(palette.ORDER) <= set(light)
    assert "@media screen and (prefers-color-scheme:dark)" in palette.css() and "url(" not in palette.css()
