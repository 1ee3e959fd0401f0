"""Charts as SVG."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from benchmarks.figure import Chart, Panel, Point, Series, svg

SVG = "{http://www.w3.org/2000/svg}"


def chart(*panels: Panel) -> Chart:
    return Chart("A <title> & 'quotes'", "batch size", ("1", "4"), panels, "unedited", ("a note & more",))


def test_every_panel_has_each_series_with_its_line_markers_and_intervals() -> None:
    one = Series("EMMET & co", (Point(0.5, 0.4, 0.6), Point(1.0, 0.9, 1.0)))
    other = Series("MEMIT", (None, Point(0.25)))
    document = ElementTree.fromstring(svg(chart(Panel("ES", (one, other), 0.3, (0.0, 1.0)), Panel("drift", (other,)))))
    groups = [group for group in document.iter(f"{SVG}g") if group.get("class") == "series"]
    assert [group.get("data-method") for group in groups] == ["EMMET & co", "MEMIT", "MEMIT"]
    drawn = [[len(group.findall(f"{SVG}{kind}")) for kind in ("polyline", "circle", "line")] for group in groups]
    assert drawn == [[1, 2, 2], [0, 1, 0], [0, 1, 0]]
    texts = {text.text for text in document.iter(f"{SVG}text")}
    assert {"A <title> & 'quotes'", "ES", "drift", "batch size", "unedited", "a note & more"} <= texts


def test_markers_stand_where_their_values_are() -> None:
    points = Series("EMMET", (Point(0.0), Point(2.0)))
    document = ElementTree.fromstring(svg(chart(Panel("ES", (points,), limits=(0.0, 2.0)))))
    low, high = [(float(one.get("cx", "")), float(one.get("cy", ""))) for one in document.iter(f"{SVG}circle")]
    ticks = {text.text: float(text.get("y", "")) for text in document.iter(f"{SVG}text")}
    assert low[0] < high[0]
    assert (low[1], high[1]) == pytest.approx((ticks["0"] - 4, ticks["2"] - 4), abs=0.11)


def test_a_panel_takes_the_range_that_its_points_need() -> None:
    low, high = Panel("drift", (Series("EMMET", (Point(1.5, 1.0, 2.0),)),), baseline=1.0).range()
    assert low < 1.0 < 2.0 < high
    assert Panel("nothing", (Series("EMMET", (None,)),)).range() == (0.0, 1.0)
    low, high = Panel("flat", (Series("EMMET", (Point(1.0),)),)).range()
    assert low < 1.0 < high
