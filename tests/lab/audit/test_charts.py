"""Charts: where shapes lie, what they say, and what odd data does to them."""

import re
from datetime import date, timedelta
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.lab.audit.charts import Frame, Label, Series, Tile, area, bar, columns, line, ticks, tiles
from turnout.lab.audit.markup import tokens
from turnout.lab.audit.spans import spans
from turnout.lab.audit.squares import Box, squares


def frame(*tips):
    return Frame(labelled="x", labels=(Label(at=0.0, text="first"),), tips=tips, written=tokens)


def drawn(svg):
    return ET.fromstring(svg)  # noqa: S314 - our own


def marks(svg, kind):
    return [node for node in drawn(svg).iter() if kind in (node.get("class") or "").split()]


def titles(svg):
    return [node.text for node in drawn(svg).iter("title")]


@pytest.mark.parametrize(
    ("most", "told"),
    [(0, (0, 1)), (10, (0, 2, 4, 6, 8, 10)), (208, (0, 50, 100, 150, 200, 250)), (float("nan"), (0, 1))],
)
def test_ticks_are_round_and_reach_the_top(most, told):
    assert ticks(most) == pytest.approx(told)


def test_layers_lie_upon_each_other():
    low = Series(name="low", colour=0, values=(1.0, 2.0))
    high = Series(name="high", colour=1, values=(1.0, 3.0))
    first, second = marks(area([0.0, 1.0], [low, high], frame("a", "b")), "shape")
    # The axis goes to 5, so one is 200 of 1,000 from the bottom.
    assert first.get("d") == "M0 800L1000 600L1000 1000L0 1000Z"
    assert second.get("d") == "M0 600L1000 0L1000 600L0 800Z"


def test_columns_have_a_place_each_to_be_pointed_at():
    svg = columns([Series(name="m", colour=3, values=(4.0, 0.0, 8.0))], frame("one", "two", "three"))
    shapes = marks(svg, "s3")
    assert [(node.get("y"), node.get("height")) for node in shapes] == [("500", "500"), ("0", "1000")]
    assert titles(svg) == ["one", "two", "three"]
    assert [node.get("width") for node in marks(svg, "hit")] == ["33.333%"] * 3


def test_a_line_passes_over_what_nobody_knows():
    svg = line([0.25, 0.5, 0.75], [0.5, None, 1.0], frame("a", "b", "c"))
    assert [node.get("d") for node in marks(svg, "trace")] == ["M250 500L750 0"]
    assert [(node.get("cx"), node.get("cy")) for node in marks(svg, "dot")] == [("25%", "50%"), ("75%", "0%")]


def test_one_place_is_a_whole_area_and_a_narrow_column():
    one = [Series(name="m", colour=0, values=(3.0,))]
    assert marks(area([0.0], one, frame("a")), "shape")[0].get("d").startswith("M0 ")
    assert marks(columns(one, frame("a")), "shape")[0].get("width") == "100"


def test_tiles_say_what_they_have_room_for():
    big = Tile(name="read_file", size=90, colour=1, tip="read_file\n90 tokens", below="90%")
    small = Tile(name="<script>", size=1, colour=1, tip="<script>", below="1%")
    svg = tiles(
        [[big, small], [Tile(name="rest", size=40, colour=2, tip="rest")]],
        labelled="x",
        width=300,
        height=200,
        class_="w",
    )
    assert titles(svg) == ["read_file\n90 tokens", "<script>", "rest"]
    assert [node.text for node in marks(svg, "tile-name")] == ["read_file", "rest"]
    assert "<script>" not in svg


def test_a_bar_stays_in_its_cell():
    assert 'width="100%"' in bar(7.0)
    assert 'width="0%"' in bar(-1.0, mark=0.5)


@given(
    st.lists(st.floats(min_value=0, max_value=1e12), min_size=1, max_size=40), st.floats(10, 2_000), st.floats(10, 900)
)
def test_squares_fill_their_box_in_proportion(sizes, width, height):
    placed = squares(sorted(sizes, reverse=True), Box(0.0, 0.0, width, height))
    whole = sum(sizes)
    slack = 1e-6 * width * height
    for size, box in zip(sorted(sizes, reverse=True), placed, strict=True):
        assert box.width * box.height == pytest.approx(size / whole * width * height if whole else 0.0, abs=slack)
        assert -1e-6 <= box.left <= box.left + box.width <= width * (1 + 1e-6)
        assert -1e-6 <= box.top <= box.top + box.height <= height * (1 + 1e-6)


def every(first, count):
    return [(first + timedelta(days=n)).isoformat() for n in range(count)]


def test_days_become_weeks_and_months_when_there_are_many():
    start = date(2026, 1, 1)
    assert spans([], 100) is None
    assert spans(["", "no day"], 100) is None
    few = spans(["2026-01-30", "2026-02-01"], 100)
    assert (few.unit, few.names) == ("day", ("30 Jan", "31 Jan", "1 Feb"))
    assert spans(every(start, 200), 100).unit == "week"
    years = spans(every(start, 1_500), 100)
    assert (years.unit, years.names[:2], len(years.names)) == ("month", ("Jan 2026", "Feb 2026"), 50)
    assert years.place("2026-02-28") == 1


def test_a_wrong_clock_does_not_make_all_others_one_dot():
    told = spans(["1970-01-01", *every(date(2026, 1, 1), 5), "9999-12-31"], 100)
    assert (told.unit, len(told.names), told.outside) == ("day", 5, 2)
    assert told.place("1970-01-01") is None
    assert re.match("1 Jan", told.named(0))
