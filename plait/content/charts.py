"""The part of Vega-Lite that Plait draws itself: one mark over inline rows.

Everything else (layers, facets, transforms, binning, remote data) is shown as data and
specification; a picture that leaves out what the specification says would be a lie.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

from plait.content.tables import cell_text

Mark: TypeAlias = Literal["bar", "line", "area", "point"]

MAX_SERIES: Final = 8
MAX_CATEGORIES: Final = 60
MAX_POINTS: Final = 2_000

_MARKS: Final[Mapping[str, Mark]] = {
    "bar": "bar",
    "line": "line",
    "trail": "line",
    "area": "area",
    "point": "point",
    "circle": "point",
    "square": "point",
}
_UNDRAWN: Final = ("layer", "hconcat", "vconcat", "concat", "facet", "repeat", "transform", "projection")
_CHANNELS: Final = frozenset({"x", "y", "color", "xOffset", "tooltip", "order"})
_SCALES: Final = frozenset({None, "linear", "band", "point", "time", "utc", "ordinal"})
_UNDRAWN_IN_CHANNEL: Final = ("bin", "timeUnit", "condition", "impute")
_AGGREGATES: Final[Mapping[str, Callable[[Sequence[float]], float]]] = {
    "sum": sum,
    "mean": lambda values: sum(values) / len(values),
    "average": lambda values: sum(values) / len(values),
    "min": min,
    "max": max,
    "count": len,
}


class NotDrawable(ValueError):
    """The specification asks for more than the small renderer draws; the message says what."""


@dataclass(frozen=True, slots=True)
class Point:
    """One value: `at` is a category's name, or a number on a continuous axis (seconds for times)."""

    at: str | float
    value: float


@dataclass(frozen=True, slots=True)
class Series:
    """Points of one colour; `name` is empty where there is only one."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Axis:
    """What runs along one side."""

    title: str
    kind: Literal["category", "number", "time"]


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart ready to be drawn; `at` runs along x unless `horizontal`."""

    mark: Mark
    at: Axis
    value: Axis
    series: tuple[Series, ...]
    categories: tuple[str, ...]
    horizontal: bool = False
    stacked: bool = False


Channel: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Axes:
    at: Channel
    value: Channel
    horizontal: bool


def inline_rows(spec: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The rows of `data.values`; empty where the data are elsewhere or in another dialect."""
    data = spec.get("data")
    values = data.get("values") if isinstance(data, Mapping) else None
    rows = values if isinstance(values, list) else []
    return [row if isinstance(row, Mapping) else {"data": row} for row in rows]


def read_chart(spec: Mapping[str, Any]) -> Chart:
    """Read a Vega-Lite specification. Raises NotDrawable for anything but one simple mark."""
    mark = _mark(spec)
    encoding = _encoding(spec)
    rows = inline_rows(spec)
    if not rows:
        msg = "it carries no inline data"
        raise NotDrawable(msg)
    return _assemble(mark, _orient(encoding, mark), encoding, rows)


def _mark(spec: Mapping[str, Any]) -> Mark:
    undrawn = next((key for key in _UNDRAWN if spec.get(key)), None)
    if undrawn:
        msg = f"it uses {undrawn!r}"
        raise NotDrawable(msg)
    mark = spec.get("mark")
    word = mark.get("type") if isinstance(mark, Mapping) else mark
    if not isinstance(word, str) or word not in _MARKS:
        msg = f"its mark is {word!r}"
        raise NotDrawable(msg)
    return _MARKS[word]


def _encoding(spec: Mapping[str, Any]) -> dict[str, Channel]:
    encoding = spec.get("encoding")
    channels = encoding if isinstance(encoding, Mapping) else {}
    strange = [name for name in channels if name not in _CHANNELS]
    if strange or "x" not in channels or "y" not in channels:
        msg = f"it encodes {', '.join(strange)}" if strange else "it has no x and y"
        raise NotDrawable(msg)
    found = {name: channel for name, channel in channels.items() if isinstance(channel, Mapping)}
    for name, channel in found.items():
        undrawn = next((key for key in _UNDRAWN_IN_CHANNEL if channel.get(key)), None)
        scale = channel.get("scale")
        odd_scale = isinstance(scale, Mapping) and scale.get("type") not in _SCALES
        if undrawn or odd_scale or (name == "color" and channel.get("type") == "quantitative"):
            msg = f"its {name} uses {undrawn or 'a scale of its own'!r}"
            raise NotDrawable(msg)
    return found


def _orient(encoding: Mapping[str, Channel], mark: Mark) -> _Axes:
    x, y = encoding.get("x", {}), encoding.get("y", {})
    if _is_measure(y):
        return _Axes(x, y, horizontal=False)
    if _is_measure(x) and mark == "bar":
        return _Axes(y, x, horizontal=True)
    msg = "neither axis is a quantity"
    raise NotDrawable(msg)


def _is_measure(channel: Channel) -> bool:
    return channel.get("type") == "quantitative" or channel.get("aggregate") in _AGGREGATES


def _title(channel: Channel) -> str:
    axis = channel.get("axis")
    titles = (channel.get("title"), axis.get("title") if isinstance(axis, Mapping) else None)
    plain = " of ".join(str(channel[key]) for key in ("aggregate", "field") if channel.get(key))
    return next((title for title in titles if isinstance(title, str)), plain)


def _axis_kind(
    channel: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], mark: Mark
) -> Literal["category", "number", "time"]:
    values = [row.get(str(channel.get("field"))) for row in rows]
    if mark == "bar":
        return "category"
    if channel.get("type") == "quantitative":
        return "number"
    if channel.get("type") == "temporal" and all(_timestamp(value) is not None for value in values):
        return "time"
    return "category"


def _assemble(
    mark: Mark, axes: _Axes, encoding: Mapping[str, Channel], rows: Sequence[Mapping[str, Any]]
) -> Chart:
    axis = Axis(_title(axes.at), _axis_kind(axes.at, rows, mark))
    groups = _grouped(rows, axes, axis.kind, _series_field(encoding))
    series = [Series(name, _points(places, axes.value, mark)) for name, places in groups.items()]
    categories = _sorted_categories(series, axes.at) if axis.kind == "category" else ()
    _check_size(series, categories)
    apart = "xOffset" in encoding or axes.value.get("stack", "zero") in {None, False}
    return Chart(
        mark=mark,
        at=axis,
        value=Axis(_title(axes.value), "number"),
        series=tuple(series),
        categories=categories,
        horizontal=axes.horizontal,
        stacked=len(series) > 1 and mark in {"bar", "area"} and not apart,
    )


def _series_field(encoding: Mapping[str, Channel]) -> str:
    fields = {str(encoding[name].get("field", "")) for name in ("color", "xOffset") if name in encoding}
    fields.discard("")
    if len(fields) > 1:
        msg = "its colour and its groups are different fields"
        raise NotDrawable(msg)
    return next(iter(fields), "")


def _grouped(
    rows: Sequence[Mapping[str, Any]], axes: _Axes, kind: str, series_field: str
) -> dict[str, dict[str | float, list[float]]]:
    groups: dict[str, dict[str | float, list[float]]] = {}
    counting = axes.value.get("aggregate") == "count"
    for row in rows:
        place = _place(row.get(str(axes.at.get("field"))), kind)
        amount = 1.0 if counting else _number(row.get(str(axes.value.get("field"))))
        if place is not None and amount is not None:
            places = groups.setdefault(cell_text(row.get(series_field)), {})
            places.setdefault(place, []).append(amount)
    return groups


def _points(
    places: Mapping[str | float, list[float]], value: Mapping[str, Any], mark: Mark
) -> tuple[Point, ...]:
    aggregate = value.get("aggregate")
    if aggregate is not None and aggregate not in _AGGREGATES:
        msg = f"it aggregates by {aggregate!r}"
        raise NotDrawable(msg)
    if aggregate:
        return tuple(Point(at, float(_AGGREGATES[aggregate](values))) for at, values in places.items())
    if mark == "bar":
        return tuple(Point(at, sum(values)) for at, values in places.items())  # Vega-Lite stacks repeats
    return tuple(Point(at, one) for at, values in places.items() for one in values)


def _sorted_categories(series: Sequence[Series], at: Mapping[str, Any]) -> tuple[str, ...]:
    """Categories in the order of the data, unless the specification sorts them.

    Vega-Lite would sort them by name; a model's SQL has usually put them in the order it means.
    """
    totals: dict[str, float] = {}
    for point in (point for one in series for point in one.points):
        totals[str(point.at)] = totals.get(str(point.at), 0.0) + point.value
    sort = at.get("sort")
    if isinstance(sort, list):
        named = [str(name) for name in sort if str(name) in totals]
        return tuple(dict.fromkeys([*named, *totals]))
    if sort in {"ascending", "descending"}:
        return tuple(sorted(totals, reverse=sort == "descending"))
    if sort in {"x", "y", "-x", "-y"}:
        return tuple(sorted(totals, key=lambda name: totals[name], reverse=str(sort).startswith("-")))
    return tuple(totals)


def _check_size(series: Sequence[Series], categories: Sequence[str]) -> None:
    points = sum(len(one.points) for one in series)
    if not points:
        msg = "none of its rows can be placed"
        raise NotDrawable(msg)
    if len(series) > MAX_SERIES or len(categories) > MAX_CATEGORIES or points > MAX_POINTS:
        msg = f"{len(series)} series, {len(categories)} categories and {points} points are too many"
        raise NotDrawable(msg)


def _place(value: Any, kind: str) -> str | float | None:
    if kind == "category":
        return cell_text(value)
    return _number(value) if kind == "number" else _timestamp(value)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and abs(number) < 1e300 else None  # noqa: PLR2004 - room to scale


def _timestamp(value: Any) -> float | None:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        return (moment.replace(tzinfo=None) - datetime(1970, 1, 1)).total_seconds()  # noqa: DTZ001 - only differences count
    except (ValueError, OverflowError):
        return None
