"""The same rows in a terminal, as SVG and as PNG."""

import math
from datetime import UTC, datetime, timedelta
from itertools import product
from xml.etree import ElementTree as ET

import polars as pl
import pytest

from analytics_platform.chart.image import png, svg
from analytics_platform.chart.label import plain
from analytics_platform.chart.outline import lines_in, view_of
from analytics_platform.chart.question import Axis, Plot
from analytics_platform.chart.spec import Spot, chart_spec, map_spec
from analytics_platform.chart.terminal import drawn
from analytics_platform.contract.panel import Kind

START = datetime(2026, 11, 24, tzinfo=UTC)
EVIL = plain("\x1b]0;x\x07\ud800</svg><script>alert(1)</script>")


def tree_of(text: str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314 - our own pictures


def waves(axis: Axis) -> Plot:
    """Two series of a day, one of them named by somebody who means ill."""
    rows = []
    for number, by in product(range(24), ("a", EVIL)):
        x = {Axis.TIME: START + timedelta(hours=number), Axis.NUMBER: float(number), Axis.TEXT: f"t{number:02}"}[axis]
        rows.append((x, by, math.sin(number / 4) * 10 + (5 if by == "a" else 0)))
    frame = pl.DataFrame(rows, schema=["x", "by", "y"], orient="row")
    return Plot(frame, axis, "when", "how many", "who", ("something was left out",))


def one(rows: list[tuple[object, str, float]], axis: Axis, by: str | None = None) -> Plot:
    return Plot(pl.DataFrame(rows, schema=["x", "by", "y"], orient="row"), axis, "x", "y", by)


@pytest.mark.parametrize(("axis", "kind", "colours"), [*product(Axis, Kind, (True, False))])
def test_every_picture_fits_and_holds_nothing_but_letters(axis: Axis, kind: Kind, colours: bool) -> None:
    lines = drawn(waves(axis), kind, 60, 12, colours=colours)
    assert all(line.plain.isprintable() for line in lines)
    if axis is not Axis.TEXT:
        assert len(lines) == 12 + 1 + 2
        assert max(line.cell_len for line in lines[:-2]) <= 60
    assert lines[-1].plain == "something was left out"
    assert any(line.spans for line in lines[:-2]) is colours


def test_a_line_as_it_stands_in_a_terminal() -> None:
    rows: list[tuple[object, str, float]] = [(0.0, "", 0.0), (1.0, "", 4.0)]
    assert [line.plain.rstrip() for line in drawn(one(rows, Axis.NUMBER), None, 20, 4, colours=False)] == [
        "y",
        "4 │        ⢀⣀⣀⠤⠤⠒⠒⠊⠉",
        "0 │⣀⡠⠤⠤⠒⠒⠉⠉⠁",
        "  └─────────────────",
        "   0       x       1",
    ]


def test_bars_of_texts_are_as_long_as_their_numbers() -> None:
    rows: list[tuple[object, str, float]] = [("few", "", 5.0), ("many", "", 10.0)]
    assert [line.plain for line in drawn(one(rows, Axis.TEXT), None, 28, 4, colours=False)] == [
        "many ████████████████████ 10",
        "few  ██████████ 5",
    ]


@pytest.mark.parametrize(
    "rows", [[], [(START, "", 0.0)], [(START, "", -1.0)], [(START, "", 1e300), (START + timedelta(1), "", -1e-300)]]
)
def test_little_to_draw(rows: list[tuple[object, str, float]]) -> None:
    frame = pl.DataFrame(rows, schema={"x": pl.Datetime("us", "UTC"), "by": pl.String, "y": pl.Float64}, orient="row")
    found = Plot(frame, Axis.TIME, "x", "y", None)
    for kind in Kind:
        assert drawn(found, kind, 40, 8, colours=True)
        tree_of(svg(chart_spec(found, kind, 300, 100)))


@pytest.mark.parametrize(("axis", "kind"), [*product(Axis, Kind)])
def test_a_picture_as_svg_holds_its_marks_and_neither_scripts_nor_addresses(axis: Axis, kind: Kind) -> None:
    text = svg(chart_spec(waves(axis), kind, 500, 200))
    tree = tree_of(text)
    tags = {element.tag.split("}")[1] for element in tree.iter()}
    assert tags <= {"svg", "rect", "g", "path", "line", "text", "defs", "clipPath"}
    said = [element.get("aria-label", "") for element in tree.iter() if element.tag.endswith("path")]
    marks = [label for label in said if ": how many " in label]
    assert len(marks) >= 48
    assert any(f"{EVIL}: how many " in label for label in marks)
    assert "href" not in text.replace("xlink", "")
    assert not any(name.startswith("on") for element in tree.iter() for name in element.attrib)


def test_a_png() -> None:
    picture = png(chart_spec(waves(Axis.TIME), None, 300, 100))
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")


def test_a_map_shows_borders_around_its_spots() -> None:
    spots = [Spot("EWR", -74.17, 40.69, 12.0), Spot("LAX", -118.4, 33.9, -5.0)]
    tree = tree_of(svg(map_spec(spots, "delay", 500, 300)))
    labels = [element.get("aria-label") for element in tree.iter()]
    assert "EWR: delay 12" in labels
    assert "LAX: delay -5" in labels
    (borders,) = [found for found in tree.iter() if len(found.get("d", "")) > 10_000]
    assert borders.get("stroke") == "#b4bcc2"


def test_a_map_of_one_spot_and_one_at_a_pole() -> None:
    for longitude, latitude in ((13.4, 52.5), (0.0, 90.0), (180.0, -90.0)):
        tree_of(svg(map_spec([Spot("x", longitude, latitude, 1.0)], "y", 300, 200)))


def test_borders_far_away_are_left_out() -> None:
    view = view_of([(-74.17, 40.69), (-118.4, 33.9)])
    lines = lines_in(view, 500, 300)
    assert lines
    assert not [line for line in lines if min(point[0] for point in line) > 0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mug", "mug"),
        ("a\nb\x00", "a\\nb\\x00"),
        ("\ud800", "\\ud800"),
        ("\u202eabc", "\\u202eabc"),
        ("x" * 41, "x" * 39 + "…"),
        ("x" * 40, "x" * 40),
    ],
)
def test_labels(text: str, expected: str) -> None:
    assert plain(text) == expected
