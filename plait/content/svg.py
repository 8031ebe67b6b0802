"""Charts as inline SVG: no script, no style attributes, colours by class (`s0`…), text as text."""

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from html import escape
from typing import Final

from plait.content.charts import Chart, Point
from plait.content.text import one_line

WIDTH: Final = 660
HEIGHT: Final = 340
TOP: Final = 14
RIGHT: Final = 14
BOTTOM: Final = 46
CHARACTER: Final = 6.3
"""Width of an average character of the labels, in SVG units."""
_TICKS: Final = 5
_ROW: Final = 26


def draw(chart: Chart, label: str) -> str:
    """`chart` as an `<svg>` element that a screen reader announces as `label`."""
    frame = _Horizontal(chart) if chart.horizontal else _Frame(chart)
    parts = [*frame.grid(), *frame.marks(), *frame.titles()]
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {frame.height:.0f}" role="img" '
        f'aria-label="{_safe(label)}">{"".join(parts)}</svg>'
    )


def nice_ticks(low: float, high: float) -> list[float]:
    """About five round numbers that cover `low` to `high`."""
    span = (high - low) or abs(high) or 1.0
    rough = span / _TICKS
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if rough <= factor * magnitude * 1.0001)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def number_label(value: float) -> str:
    """A tick in few characters: `1.2M`, `350k`, `0.25`."""
    for limit, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            return f"{value / (1e3 if unit == 'k' else limit):.3g}{unit}"
    return f"{value:,.6g}"


def exact(value: float) -> str:
    """A value as a tooltip shows it."""
    return f"{value:,.10g}"


class _Frame:
    """The coordinates of a chart whose values run upwards."""

    def __init__(self, chart: Chart) -> None:
        self.chart = chart
        self.height: float = HEIGHT
        self.ticks = nice_ticks(*_extent(chart))
        self.left = 20 + CHARACTER * max(len(number_label(tick)) for tick in self.ticks)
        self.bottom = self.height - BOTTOM
        places = [float(point.at) for one in chart.series for point in one.points if not chart.categories]
        self.at_ticks = nice_ticks(min(places), max(places)) if chart.at.kind == "number" else []
        self.low = min([*places, *self.at_ticks], default=0.0)
        self.high = max([*places, *self.at_ticks], default=1.0)

    def y(self, value: float) -> float:
        low, high = self.ticks[0], self.ticks[-1]
        return self.bottom - (value - low) / (high - low) * (self.bottom - TOP)

    def x(self, at: str | float) -> float:
        width = WIDTH - RIGHT - self.left
        if self.chart.categories:
            return self.left + (self.chart.categories.index(str(at)) + 0.5) * self.band
        inset = 8
        share = (float(at) - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return self.left + inset + share * (width - 2 * inset)

    @property
    def band(self) -> float:
        return (WIDTH - RIGHT - self.left) / len(self.chart.categories)

    def grid(self) -> Iterator[str]:
        for tick in self.ticks:
            kind = "axis" if tick == 0 else "grid"
            yield _line(kind, self.left, self.y(tick), WIDTH - RIGHT, self.y(tick))
            yield _text(self.left - 6, self.y(tick) + 4, number_label(tick), anchor="end")
        yield from self._labels()

    def _labels(self) -> Iterator[str]:
        named = self._places()
        room = (WIDTH - RIGHT - self.left) / max(1, len(named))
        every = max(1, math.ceil(24 / room))
        fitting = int(room * every / CHARACTER) - 1
        tilted = any(len(label) > fitting for _, label in named)
        for x, label in named[::every]:
            if tilted:
                yield _tilted(x, self.bottom + 13, one_line(label, 12))
            else:
                yield _text(x, self.bottom + 17, label, anchor="middle")

    def _places(self) -> list[tuple[float, str]]:
        if self.chart.categories:
            return [(self.x(name), one_line(name) or "(none)") for name in self.chart.categories]
        if self.chart.at.kind == "number":
            return [(self.x(tick), number_label(tick)) for tick in self.at_ticks]
        return [(self.x(moment), label) for moment, label in _time_ticks(self.low, self.high)]

    def titles(self) -> Iterator[str]:
        value, at = (one_line(axis.title, 60) for axis in (self.chart.value, self.chart.at))
        yield _text(self.left, TOP - 4, value, anchor="start", kind="title")
        yield _text(WIDTH - RIGHT, self.height - 4, at, anchor="end", kind="title")

    def marks(self) -> Iterator[str]:
        match self.chart.mark:
            case "bar":
                yield from self._bars()
            case "line":
                yield from self._lines()
            case "area":
                yield from self._areas()
            case "point":
                yield from self._dots(radius=4)

    def _bars(self) -> Iterator[str]:
        for number, point, place, base, value in _bar_spans(self.chart, self.band):
            middle, width = place
            x = self.left + middle - width / 2
            top, bottom = sorted((self.y(base), self.y(value)))
            yield _rect(number, (x, top), (width, bottom - top), self._tip(number, point))

    def _lines(self) -> Iterator[str]:
        for number, one in enumerate(self.chart.series):
            points = self._sorted(one.points)
            path = " ".join(f"{self.x(point.at):.1f},{self.y(point.value):.1f}" for point in points)
            yield f'<polyline class="line s{number}" points="{path}"/>'
        yield from self._dots(radius=2.5)

    def _areas(self) -> Iterator[str]:
        floor: dict[str | float, float] = {}
        for number, one in enumerate(self.chart.series):
            points = self._sorted(one.points)
            spans = [(point, floor.get(point.at, 0.0)) for point in points]
            upper = [(self.x(point.at), self.y(base + point.value)) for point, base in spans]
            lower = [(self.x(point.at), self.y(base)) for point, base in reversed(spans)]
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in [*upper, *lower])
            tip = f"<title>{_safe(one.name)}</title>"
            yield f'<polygon class="area s{number}" points="{path}">{tip}</polygon>'
            if self.chart.stacked:
                floor |= {point.at: base + point.value for point, base in spans}

    def _dots(self, radius: float) -> Iterator[str]:
        for number, one in enumerate(self.chart.series):
            for point in one.points:
                place = f'cx="{self.x(point.at):.1f}" cy="{self.y(point.value):.1f}" r="{radius}"'
                tip = f"<title>{_safe(self._tip(number, point))}</title>"
                yield f'<circle class="dot s{number}" {place}>{tip}</circle>'

    def _sorted(self, points: Sequence[Point]) -> list[Point]:
        return sorted(points, key=lambda point: self.x(point.at))

    def _tip(self, number: int, point: Point) -> str:
        at = _moment(float(point.at)).date().isoformat() if self.chart.at.kind == "time" else str(point.at)
        names = [name for name in (self.chart.series[number].name, at) if name]
        return f"{', '.join(names)}: {exact(point.value)}"


class _Horizontal(_Frame):
    """Bars that run to the right, one row a category, so that long names can be read."""

    def __init__(self, chart: Chart) -> None:
        super().__init__(chart)
        longest = max(len(one_line(name, 24)) for name in chart.categories)
        self.left = 14 + CHARACTER * longest
        self.height = TOP + _ROW * len(chart.categories) + BOTTOM
        self.bottom = self.height - BOTTOM

    @property
    def band(self) -> float:
        return _ROW

    def along(self, value: float) -> float:
        low, high = self.ticks[0], self.ticks[-1]
        return self.left + (value - low) / (high - low) * (WIDTH - RIGHT - 10 - self.left)

    def grid(self) -> Iterator[str]:
        for tick in self.ticks:
            kind = "axis" if tick == 0 else "grid"
            yield _line(kind, self.along(tick), TOP, self.along(tick), self.bottom)
            yield _text(self.along(tick), self.bottom + 16, number_label(tick), anchor="middle")
        for number, name in enumerate(self.chart.categories):
            middle = TOP + (number + 0.5) * _ROW
            yield _text(self.left - 6, middle + 4, one_line(name, 24) or "(none)", anchor="end")

    def titles(self) -> Iterator[str]:
        yield _text(
            WIDTH - RIGHT, self.height - 8, one_line(self.chart.value.title, 60), anchor="end", kind="title"
        )

    def _bars(self) -> Iterator[str]:
        for number, point, place, base, value in _bar_spans(self.chart, _ROW):
            middle, width = place
            start, end = sorted((self.along(base), self.along(value)))
            corner = start, TOP + middle - width / 2
            yield _rect(number, corner, (end - start, width), self._tip(number, point))


def _bar_spans(chart: Chart, band: float) -> Iterator[tuple[int, Point, tuple[float, float], float, float]]:
    """Series number, point, (middle, width) across the bars, and where the bar starts and ends."""
    grouped = len(chart.series) > 1 and not chart.stacked
    width = band * 0.72 / (len(chart.series) if grouped else 1)
    stacks: dict[tuple[str, bool], float] = {}
    for number, one in enumerate(chart.series):
        shift = (number - (len(chart.series) - 1) / 2) * width if grouped else 0.0
        for point in one.points:
            middle = (chart.categories.index(str(point.at)) + 0.5) * band + shift
            stack = (str(point.at), point.value < 0)
            base = stacks.get(stack, 0.0) if chart.stacked else 0.0
            stacks[stack] = base + point.value
            yield number, point, (middle, min(width, 64)), base, base + point.value


def _extent(chart: Chart) -> tuple[float, float]:
    """The smallest and largest value to show; bars and areas start at zero."""
    values = [point.value for one in chart.series for point in one.points]
    if chart.mark in {"bar", "area"}:
        values.append(0.0)
    if chart.stacked:
        totals: dict[tuple[str | float, bool], float] = {}
        for point in (point for one in chart.series for point in one.points):
            side = (point.at, point.value < 0)
            totals[side] = totals.get(side, 0.0) + point.value
        values += totals.values()
    low, high = min(values), max(values)
    near_zero = low > 0 and low < high / 2
    return (0.0 if near_zero else low), high


def _moment(seconds: float) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)


def _time_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """At most six moments from `low` to `high`, in the finest words their distance needs."""
    step = (high - low) / _TICKS
    day = 86_400.0
    form = (
        "%H:%M" if step < day / 2 else "%d %b" if step < 25 * day else "%b %Y" if step < 300 * day else "%Y"
    )
    labels: dict[str, float] = {}
    for number in range(_TICKS + 1):
        moment = low + number * step
        labels.setdefault(_moment(moment).strftime(form), moment)
    return [(moment, label) for label, moment in labels.items()]


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, *, anchor: str, kind: str = "label") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{_safe(text)}</text>'


def _tilted(x: float, y: float, text: str) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" transform="rotate(-30 {x:.1f} {y:.1f})"'
    return f'<text class="label" {place} text-anchor="end">{_safe(text)}</text>'


def _rect(number: int, corner: tuple[float, float], size: tuple[float, float], tip: str) -> str:
    place = f'x="{corner[0]:.1f}" y="{corner[1]:.1f}" width="{size[0]:.1f}" height="{max(size[1], 0.5):.1f}"'
    return f'<rect class="bar s{number}" {place} rx="2"><title>{_safe(tip)}</title></rect>'


def _safe(text: str) -> str:
    return escape(one_line(text, 200))
