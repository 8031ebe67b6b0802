"""Charts and maps: what is drawn says what the specification says, and the rest is not drawn."""

import math
import re
from itertools import pairwise

import pytest

from plait.content.blocks import MapBlock, parse_block
from plait.content.charts import NotDrawable, Point, read_chart
from plait.content.geo import MAX_POSITIONS, coordinates, draw_map, shapes
from plait.content.svg import HEIGHT, WIDTH, draw, nice_ticks, number_label

ROWS = [
    {"q": "Q2", "v": 3, "r": "N"},
    {"q": "Q1", "v": 1, "r": "N"},
    {"q": "Q2", "v": 5, "r": "S"},
    {"q": "Q1", "v": 2, "r": "S"},
]
X = {"field": "q", "type": "nominal"}
Y = {"field": "v", "type": "quantitative"}


def spec(mark="bar", rows=ROWS, **encoding):
    """A Vega-Lite specification of one mark."""
    return {"mark": mark, "data": {"values": rows}, "encoding": {"x": X, "y": Y, **encoding}}


def test_bars_of_one_colour_add_up_and_keep_the_order_of_the_data():
    """Repeated categories are summed, as Vega-Lite stacks them, in the order they came."""
    chart = read_chart(spec())
    assert chart.categories == ("Q2", "Q1")
    assert chart.series[0].points == (Point("Q2", 8.0), Point("Q1", 3.0))
    assert not chart.stacked


def test_colours_make_series_that_stack_unless_told_otherwise():
    """A colour stacks bars; an offset or `stack: null` sets them side by side."""
    color = {"field": "r"}
    stacked = read_chart(spec(color=color))
    assert [one.name for one in stacked.series] == ["N", "S"]
    assert stacked.stacked
    assert not read_chart(spec(color=color, xOffset=color)).stacked
    assert not read_chart(spec(color=color, y=Y | {"stack": None})).stacked


@pytest.mark.parametrize(
    ("aggregate", "values"),
    [("sum", (8, 3)), ("mean", (4, 1.5)), ("min", (3, 1)), ("max", (5, 2)), ("count", (2, 2))],
)
def test_aggregates(aggregate, values):
    """The aggregate of the specification is computed for every category."""
    chart = read_chart(spec(y=Y | {"aggregate": aggregate}))
    assert tuple(point.value for point in chart.series[0].points) == values


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("-y", ("Q2", "Q1")),
        ("y", ("Q1", "Q2")),
        ("ascending", ("Q1", "Q2")),
        (["Q1"], ("Q1", "Q2")),
        (None, ("Q2", "Q1")),
    ],
)
def test_sorting(sort, order):
    """Categories follow the sort of the specification, else the data."""
    assert read_chart(spec(x=X | {"sort": sort})).categories == order


def test_bars_lie_where_the_quantity_is_on_x():
    """A quantity on x and names on y are horizontal bars."""
    assert read_chart(spec(x=Y, y=X)).horizontal


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"mark": "arc"}, "arc"),
        ({"mark": None}, "None"),
        ({"layer": [{}]}, "layer"),
        ({"transform": [{}]}, "transform"),
        ({"data": {"url": "https://a.example/d.json"}}, "inline"),
        ({"encoding": {"x": X}}, "x and y"),
        ({"encoding": {"x": X, "y": Y, "size": Y}}, "size"),
        ({"encoding": {"x": X | {"bin": True}, "y": Y}}, "bin"),
        ({"encoding": {"x": X, "y": Y | {"scale": {"type": "log"}}}}, "scale"),
        ({"encoding": {"x": X, "y": X}}, "quantity"),
        ({"encoding": {"x": X, "y": Y | {"aggregate": "median"}}}, "median"),
        ({"encoding": {"x": X, "y": Y, "color": {"field": "r"}, "xOffset": X}}, "groups"),
        ({"data": {"values": [{"q": "a", "v": "none"}]}}, "placed"),
        ({"data": {"values": [{"q": str(n), "v": n} for n in range(500)]}}, "too many"),
    ],
)
def test_what_cannot_be_drawn_faithfully_is_refused(change, why):
    """Anything that the renderer would have to leave out is refused with the reason."""
    with pytest.raises(NotDrawable, match=why):
        read_chart(spec() | change)


def test_every_mark_stays_inside_its_frame():
    """All drawn coordinates are finite and inside the picture, negatives and single points included."""
    single = [{"q": "a", "v": 7}]
    rows = [{"q": n, "v": n * n - 50, "r": f"s{n % 3}"} for n in range(20)]
    number = {"field": "q", "type": "quantitative"}
    times = [{"q": f"2026-01-{n + 1:02d}", "v": n} for n in range(20)]
    specs = [spec(mark, part) for mark in ("bar", "line", "area", "point") for part in (single, ROWS, rows)]
    specs += [spec(mark, rows, x=number, color={"field": "r"}) for mark in ("line", "area", "point")]
    specs += [spec(mark, times, x={"field": "q", "type": "temporal"}) for mark in ("line", "area", "point")]
    specs += [spec("bar", rows, x=Y, y=X), spec("bar", [{"q": "a", "v": 0}]), spec("line", single, x=X)]
    for one in specs:
        svg = draw(read_chart(one), "label")
        height = float(re.search(r'viewBox="0 0 \d+ (\d+)"', svg)[1])
        pairs = [
            pair.split(",") for points in re.findall(r'points="([^"]*)"', svg) for pair in points.split()
        ]
        places = re.findall(r'\b[c]?x[12]?="([^"]*)"', svg) + [x for x, _ in pairs]
        heights = re.findall(r'\b[c]?y[12]?="([^"]*)"', svg) + [y for _, y in pairs]
        assert all(-1 <= float(x) <= WIDTH + 1 for x in places), one
        assert all(-1 <= float(y) <= height + 1 for y in heights), one


def test_stacked_bars_reach_their_sum():
    """The top of a stack stands where a single bar of the sum would."""
    stacked = draw(read_chart(spec(color={"field": "r"})), "")
    whole = draw(read_chart(spec()), "")
    assert bar_tops(stacked)[-1] == pytest.approx(bar_tops(whole)[-1], abs=0.1)
    assert min(bar_tops(stacked)) == pytest.approx(min(bar_tops(whole)), abs=0.1)


def bar_tops(svg):
    """The y of every bar."""
    return [float(y) for y in re.findall(r'<rect class="bar[^>]* y="([^"]*)"', svg)]


def test_names_in_charts_are_text():
    """Hostile names, titles and labels are escaped."""
    hostile = '"><script>alert(1)</script>'
    rows = [{"q": hostile, "v": 1, "r": hostile}, {"q": "b", "v": 2, "r": "x"}]
    one = spec("bar", rows, color={"field": "r"}, y=Y | {"title": hostile})
    svg = draw(read_chart(one), hostile)
    assert "<script" not in svg
    assert "&lt;script&gt;" in svg


@pytest.mark.parametrize(
    ("low", "high"), [(0, 10), (0, 0), (-5, 5), (0.001, 0.002), (1e9, 3e9), (-7, -3), (5, 5), (0, 1e-9)]
)
def test_ticks_cover_the_range_in_round_steps(low, high):
    """Ticks start at or below the lowest value, end at or above the highest, and are few."""
    ticks = nice_ticks(low, high)
    assert ticks[0] <= low + 1e-12
    assert ticks[-1] >= high - 1e-12
    assert 2 <= len(ticks) <= 8
    steps = {round(math.log10(b - a), 6) for a, b in pairwise(ticks)}
    assert len(steps) == 1


@pytest.mark.parametrize(
    ("value", "label"),
    [(0, "0"), (1200, "1,200"), (25_000, "25k"), (1.5e6, "1.5M"), (2e9, "2B"), (0.25, "0.25")],
)
def test_tick_labels_are_short(value, label):
    """Large numbers are abbreviated."""
    assert number_label(value) == label


GEOJSON = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "properties": {"name": "Area"},
            "geometry": {
                "type": "Polygon",
                "coordinates": [[[0, 0], [4, 0], [4, 4], [0, 0]], [[1, 1], [2, 1], [2, 2], [1, 1]]],
            },
        },
        {
            "type": "Feature",
            "properties": None,
            "geometry": {"type": "MultiPoint", "coordinates": [[1, 2], [3, 1]]},
        },
        {"type": "Feature", "geometry": None},
        {
            "type": "GeometryCollection",
            "geometries": [{"type": "LineString", "coordinates": [[0, 0], [1, 1, 9]]}],
        },
    ],
}


def test_geojson_becomes_shapes():
    """Points, lines, rings and holes are told apart and named after their feature."""
    found = shapes(MapBlock(geojson=GEOJSON))
    assert [(shape.kind, shape.name) for shape in found] == [
        ("ring", "Area"),
        ("hole", "Area"),
        ("point", ""),
        ("point", ""),
        ("line", ""),
    ]
    assert found[-1].positions == ((0.0, 0.0), (1.0, 1.0))


def test_maps_stay_inside_their_frame_with_north_up():
    """Every position is inside the picture, and the north lies above the south."""
    block = parse_block({"type": "map", "markers": [{"lat": 60, "lng": 10}, {"lat": -30, "lng": 170}]})
    assert isinstance(block, MapBlock)
    svg = draw_map(shapes(block), "")
    (x1, y1), (x2, y2) = ((float(x), float(y)) for x, y in re.findall(r'cx="([^"]*)" cy="([^"]*)"', svg))
    assert 0 <= x1 < x2 <= WIDTH
    assert 0 <= y1 < y2 <= HEIGHT * 2


@pytest.mark.parametrize(
    "geojson",
    [
        {"type": "Nonsense"},
        {"type": "Point"},
        {"type": "Point", "coordinates": ["x", "y"]},
        {"type": "Point", "coordinates": [500, 0]},
        {"type": "Point", "coordinates": [float("nan"), 0]},
        {"type": "Polygon", "coordinates": []},
        {"type": "FeatureCollection", "features": [1]},
        {"type": ["Point"]},
        {"type": "MultiPoint", "coordinates": [[0, 0]] * (MAX_POSITIONS + 1)},
    ],
)
def test_what_is_no_geojson_is_refused(geojson):
    """Broken, impossible or huge maps raise ValueError and nothing else."""
    with pytest.raises(ValueError, match=r"GeoJSON|longitude|positions"):
        shapes(MapBlock(geojson=geojson))


def test_coordinates_name_their_hemispheres():
    """Longitude and latitude are written as people write them."""
    assert coordinates((-8.5, 47.0)) == "47.00000° N, 8.50000° W"
