"""Charts as one PNG, for places that show no SVG: what `svg.draw` draws, painted with Pillow."""

import io
from collections.abc import Sequence
from functools import cache
from typing import Final
from xml.etree import ElementTree as ET

from PIL import Image, ImageDraw, ImageFont

from plait.content.charts import Chart
from plait.content.svg import WIDTH, draw
from plait.content.text import one_line

SCALE: Final = 2
"""Pixels of the picture for each unit of the drawing."""
_OVER: Final = 2
"""Painted so many times larger, then shrunk: Pillow's lines have no soft edges."""
_UNIT: Final = SCALE * _OVER
HEADER: Final = 38
"""Height of a chart's title, in units."""
PALETTE: Final = ("#3567d6", "#e07a1f", "#219a74", "#b0418f", "#8a6d1f", "#5b8def", "#7a52c7", "#6b7789")
"""`--s0` to `--s7` of report.css, on a light page."""
_PAPER: Final = "#ffffff"
_INK: Final = "#1c2330"
_SOFT: Final = "#566072"
_LINE: Final = "#dfe3ea"
_SIZE: Final = 11
_TITLE_SIZE: Final = 15


def charts_png(charts: Sequence[tuple[str, Chart]]) -> bytes:
    """The charts one below the other, each under its title and the key of its colours."""
    drawings = [_parsed(chart, title) for title, chart in charts]
    heights = [float(drawing.attrib["viewBox"].split()[3]) for drawing in drawings]
    size = WIDTH * _UNIT, round(sum(HEADER + height for height in heights) * _UNIT)
    painter = _Painter(Image.new("RGB", size, _PAPER))
    top = 0.0
    for (title, chart), drawing, height in zip(charts, drawings, heights, strict=True):
        painter.header(title, [one.name for one in chart.series], top)
        painter.paint(drawing, top + HEADER)
        top += HEADER + height
    shrunk = painter.image.resize((size[0] // _OVER, size[1] // _OVER), Image.Resampling.LANCZOS)
    target = io.BytesIO()
    shrunk.save(target, "PNG", optimize=True)
    return target.getvalue()


def _parsed(chart: Chart, title: str) -> ET.Element:
    return ET.fromstring(draw(chart, title))  # noqa: S314 - our own drawing, in which all text is escaped


@cache
def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size * _UNIT)


class _Painter:
    def __init__(self, image: Image.Image) -> None:
        self.image = image
        self._draw = ImageDraw.Draw(image)
        self._top = 0.0

    def header(self, title: str, series: Sequence[str], top: float) -> None:
        """The title, and to its right a square of its colour with each series' name."""
        self._top = top
        self._words(14, 24, one_line(title, 60), _INK, size=_TITLE_SIZE)
        right = WIDTH - 14.0
        for number, name in reversed(list(enumerate(series))) if len(series) > 1 else ():
            words = one_line(name, 30)
            right -= _font(_SIZE).getlength(words) / _UNIT
            self._words(right, 24, words, _SOFT)
            right -= 14
            self._draw.rectangle(self._box(right, 15, 9, 9), fill=PALETTE[number])
            right -= 16

    def paint(self, drawing: ET.Element, top: float) -> None:
        """Every shape of the drawing."""
        self._top = top
        for shape in drawing:
            kind = shape.attrib.get("class", "").split()
            colour = PALETTE[int(kind[1][1:])] if len(kind) > 1 else _SOFT
            match shape.tag:
                case "line":
                    self._line(shape, _LINE if kind == ["grid"] else _SOFT)
                case "text":
                    self._text(shape, _INK if kind == ["title"] else _SOFT)
                case "rect":
                    x, y, width, height = _numbers(shape, "x", "y", "width", "height")
                    self._draw.rectangle(self._box(x, y, width, height), fill=colour)
                case "circle":
                    x, y, radius = _numbers(shape, "cx", "cy", "r")
                    self._draw.ellipse(self._box(x - radius, y - radius, 2 * radius, 2 * radius), fill=colour)
                case "polyline":
                    self._draw.line(self._points(shape), fill=colour, width=2 * _UNIT, joint="curve")
                case "polygon":
                    self._area(shape, colour)

    def _line(self, shape: ET.Element, colour: str) -> None:
        x1, y1, x2, y2 = _numbers(shape, "x1", "y1", "x2", "y2")
        self._draw.line([self._at(x1, y1), self._at(x2, y2)], fill=colour, width=_UNIT)

    def _text(self, shape: ET.Element, colour: str) -> None:
        x, y = _numbers(shape, "x", "y")
        anchor = {"start": "ls", "middle": "ms", "end": "rs"}[shape.attrib.get("text-anchor", "start")]
        if "transform" in shape.attrib:
            self._tilted(x, y, shape.text or "", colour)
        else:
            self._words(x, y, shape.text or "", colour, anchor=anchor)

    def _words(
        self, x: float, y: float, text: str, colour: str, *, anchor: str = "ls", size: float = _SIZE
    ) -> None:
        self._draw.text(self._at(x, y), text, font=_font(size), fill=colour, anchor=anchor)

    def _tilted(self, x: float, y: float, text: str, colour: str) -> None:
        """Text that ends at a point and rises towards it by 30 degrees."""
        font = _font(_SIZE)
        side = round(2 * font.getlength(text)) + 4 * _UNIT
        mask = Image.new("L", (side, side), 0)
        ImageDraw.Draw(mask).text((side / 2, side / 2), text, font=font, fill=255, anchor="rs")
        left, top = self._at(x, y)
        place = round(left - side / 2), round(top - side / 2)
        self.image.paste(colour, place, mask.rotate(30, Image.Resampling.BICUBIC))

    def _area(self, shape: ET.Element, colour: str) -> None:
        mask = Image.new("L", self.image.size, 0)
        ImageDraw.Draw(mask).polygon(self._points(shape), fill=110)
        self.image.paste(colour, (0, 0), mask)

    def _points(self, shape: ET.Element) -> list[tuple[float, float]]:
        pairs = (pair.split(",") for pair in shape.attrib["points"].split())
        return [self._at(float(x), float(y)) for x, y in pairs]

    def _at(self, x: float, y: float) -> tuple[float, float]:
        return x * _UNIT, (self._top + y) * _UNIT

    def _box(self, x: float, y: float, width: float, height: float) -> list[tuple[float, float]]:
        return [self._at(x, y), self._at(x + width, y + height)]


def _numbers(shape: ET.Element, *names: str) -> list[float]:
    return [float(shape.attrib[name]) for name in names]
