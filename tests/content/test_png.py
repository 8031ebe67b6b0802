"""Charts as pictures: the same as the drawing, in colours one can tell apart."""

import io
import re
from importlib.resources import files

import pytest
from PIL import Image

from plait.content.charts import Chart, read_chart
from plait.content.png import HEADER, PALETTE, SCALE, charts_png
from plait.content.svg import HEIGHT, WIDTH

ROWS = [
    {"at": f"a long name {n}", "v": n * n + more, "kind": kind}
    for n in range(6)
    for kind, more in (("x", 0), ("y", 15))
]


def chart(mark: str, rows: list[dict] = ROWS, **more: object) -> Chart:
    """A chart of one mark."""
    encoding = {"x": {"field": "at", "type": "nominal"}, "y": {"field": "v", "type": "quantitative"}, **more}
    return read_chart({"mark": mark, "data": {"values": rows}, "encoding": encoding})


def picture(*charts: tuple[str, Chart]) -> Image.Image:
    """The picture, read back."""
    return Image.open(io.BytesIO(charts_png(charts))).convert("RGB")


def colours(image: Image.Image) -> set[str]:
    """Every colour of some area."""
    found = image.getcolors(1 << 24) or []
    return {"#{:02x}{:02x}{:02x}".format(*colour) for count, colour in found if count > 20}


@pytest.mark.parametrize("mark", ["bar", "line", "area", "point"])
def test_every_mark_is_painted_in_its_colours(mark: str) -> None:
    """Both series are in the picture, one below the other, and names and key change nothing of the size."""
    kinds = {"field": "kind", "type": "nominal"}
    made = picture(("A", chart(mark, color=kinds)), ("B", chart(mark)))
    assert made.size == (WIDTH * SCALE, round(2 * (HEADER + HEIGHT) * SCALE))
    top = made.crop((0, HEADER * SCALE, made.width, made.height // 2))
    if mark != "area":  # see-through, so that the grid can be read
        assert {PALETTE[0], PALETTE[1]} <= colours(top)
    assert {PALETTE[0], PALETTE[1]} <= colours(made.crop((0, 0, made.width, HEADER * SCALE)))
    assert PALETTE[1] not in colours(made.crop((0, made.height // 2, made.width, made.height)))


def test_a_bar_is_as_high_as_its_value() -> None:
    """The tallest of three bars of 1, 2 and 4 is four times as high as the shortest."""
    rows = [{"at": name, "v": value} for name, value in (("a", 1), ("b", 2), ("c", 4))]
    made = picture(("Heights", chart("bar", rows)))
    heights = []
    for third in range(3):
        column = int((0.06 + 0.94 * (third + 0.5) / 3) * made.width)
        pixels = [made.getpixel((column, y)) for y in range(HEADER * SCALE, made.height)]
        heights.append(sum("#{:02x}{:02x}{:02x}".format(*pixel) == PALETTE[0] for pixel in pixels))
    assert heights[1] / heights[0] == pytest.approx(2, rel=0.05)
    assert heights[2] / heights[0] == pytest.approx(4, rel=0.05)


def test_the_colours_are_those_of_the_page() -> None:
    """Picture and HTML report show a series in one colour."""
    style = files("plait.content").joinpath("report.css").read_text(encoding="utf-8")
    light = re.findall(r"--s(\d): (#[0-9a-f]{6});", style)[:8]
    assert [colour for _, colour in sorted(light)] == list(PALETTE)


def test_names_of_any_script_are_painted() -> None:
    """Markup, emoji and what the font lacks do no harm."""
    rows = [{"at": name, "v": 1} for name in ("<b>&amp;", "数据 🙂", "", "\x00\u202e")]
    assert picture(("<script>", chart("bar", rows))).width == WIDTH * SCALE
