"""Maps as inline SVG outlines: GeoJSON or markers, without tiles and without loading anything."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any, Final, Literal, TypeAlias

from plait.content.blocks import MapBlock
from plait.content.text import one_line

Position: TypeAlias = tuple[float, float]
"""Longitude and latitude in degrees, in GeoJSON's order."""

Kind: TypeAlias = Literal["point", "line", "ring", "hole"]

MAX_POSITIONS: Final = 20_000
MAX_LABELS: Final = 20
_WIDTH: Final = 660
_HEIGHT: Final = 400
_MARGIN: Final = 34
_NAME_KEYS: Final = ("name", "title", "label", "NAME", "id")


@dataclass(frozen=True, slots=True)
class Shape:
    """A point, line, ring or hole with the name of its feature."""

    kind: Kind
    positions: tuple[Position, ...]
    name: str = ""

    @property
    def middle(self) -> Position:
        """The mean of the positions."""
        count = len(self.positions)
        return sum(lon for lon, _ in self.positions) / count, sum(lat for _, lat in self.positions) / count


def shapes(block: MapBlock) -> list[Shape]:
    """Everything `block` shows. Raises ValueError for what is no GeoJSON, or too much of it."""
    found = [
        Shape("point", ((one.longitude, one.latitude),), one_line(one.label or "", 60))
        for one in block.markers
    ]
    try:
        found += _geometry(block.geojson, "") if block.geojson is not None else []
    except (TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
        msg = "the GeoJSON cannot be read"
        raise ValueError(msg) from error
    found = [shape for shape in found if shape.positions]
    count = sum(len(shape.positions) for shape in found)
    if not 0 < count <= MAX_POSITIONS:
        msg = f"the map has {count:,} positions; between 1 and {MAX_POSITIONS:,} can be drawn"
        raise ValueError(msg)
    return found


def draw_map(found: list[Shape], label: str) -> str:
    """An `<svg>` of the shapes, longitudes shortened for the latitude, north up."""
    project, height = _projection(found)
    lines = [_outline(shape, project) for shape in found if shape.kind != "point"]
    points = [_dot(shape, project) for shape in found if shape.kind == "point"]
    named = {shape.name: shape for shape in reversed(found) if shape.name}
    labels = [_name(shape, project) for shape in named.values()] if len(named) <= MAX_LABELS else []
    return (
        f'<svg class="map" viewBox="0 0 {_WIDTH} {height:.0f}" role="img" '
        f'aria-label="{escape(one_line(label))}">{"".join([*lines, *points, *labels])}</svg>'
    )


def coordinates(position: Position) -> str:
    """`47.37690° N, 8.54170° E`."""
    lon, lat = position
    return f"{abs(lat):.5f}° {'N' if lat >= 0 else 'S'}, {abs(lon):.5f}° {'E' if lon >= 0 else 'W'}"


class _Projection:
    def __init__(self, west: float, north: float, scale: float, shrink: float, offset: Position) -> None:
        self.west, self.north, self.scale, self.shrink, self.offset = west, north, scale, shrink, offset

    def __call__(self, position: Position) -> Position:
        lon, lat = position
        return (
            self.offset[0] + (lon - self.west) * self.shrink * self.scale,
            self.offset[1] + (self.north - lat) * self.scale,
        )


def _projection(found: list[Shape]) -> tuple[_Projection, float]:
    everything = [position for shape in found for position in shape.positions]
    west, east = min(lon for lon, _ in everything), max(lon for lon, _ in everything)
    south, north = min(lat for _, lat in everything), max(lat for _, lat in everything)
    shrink = max(0.1, math.cos(math.radians((north + south) / 2)))
    wide, high = max((east - west) * shrink, 1e-6), max(north - south, 1e-6)
    scale = min((_WIDTH - 2 * _MARGIN) / wide, (_HEIGHT - 2 * _MARGIN) / high)
    height = max(120.0, high * scale + 2 * _MARGIN) if north > south else 120.0
    offset = (_WIDTH - (east - west) * shrink * scale) / 2, (height - (north - south) * scale) / 2
    return _Projection(west, north, scale, shrink, offset), height


def _geometry(raw: Mapping[str, Any], name: str) -> Iterator[Shape]:
    kind = raw["type"]
    if kind in _COLLECTIONS:
        for part in raw[_COLLECTIONS[kind]]:
            yield from _geometry(part, name)
    elif kind == "Feature":
        if raw.get("geometry") is not None:
            yield from _geometry(raw["geometry"], _feature_name(raw))
    elif kind in _SHAPES:
        for shape, positions in _SHAPES[kind](raw["coordinates"]):
            yield Shape(shape, tuple(_position(position) for position in positions), name)
    else:
        msg = f"GeoJSON has no type {kind!r}"
        raise ValueError(msg)


def _rings(polygon: list[Any]) -> list[tuple[Kind, list[Any]]]:
    return [("hole" if number else "ring", ring) for number, ring in enumerate(polygon)]


_COLLECTIONS: Final = {"FeatureCollection": "features", "GeometryCollection": "geometries"}
_SHAPES: Final[Mapping[str, Callable[[list[Any]], list[tuple[Kind, list[Any]]]]]] = {
    "Point": lambda position: [("point", [position])],
    "MultiPoint": lambda positions: [("point", [position]) for position in positions],
    "LineString": lambda line: [("line", line)],
    "MultiLineString": lambda lines: [("line", line) for line in lines],
    "Polygon": _rings,
    "MultiPolygon": lambda polygons: [ring for polygon in polygons for ring in _rings(polygon)],
}


def _feature_name(feature: Mapping[str, Any]) -> str:
    properties = feature.get("properties") or {}
    found = (properties.get(key) for key in _NAME_KEYS)
    return one_line(str(next((name for name in found if name is not None), "")), 60)


def _position(raw: list[Any]) -> Position:
    lon, lat = (float(raw[axis]) if isinstance(raw[axis], int | float) else math.nan for axis in (0, 1))
    if not (abs(lon) <= 360 and abs(lat) <= 90):  # noqa: PLR2004 - degrees of a globe
        msg = f"({lon}, {lat}) is no longitude and latitude"
        raise ValueError(msg)
    return lon, lat


def _outline(shape: Shape, project: _Projection) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(project, shape.positions))
    tag = "polyline" if shape.kind == "line" else "polygon"
    return f'<{tag} class="{shape.kind}" points="{path}"><title>{escape(shape.name)}</title></{tag}>'


def _dot(shape: Shape, project: _Projection) -> str:
    x, y = project(shape.positions[0])
    tip = ": ".join(part for part in (shape.name, coordinates(shape.positions[0])) if part)
    return f'<circle class="place" cx="{x:.1f}" cy="{y:.1f}" r="5"><title>{escape(tip)}</title></circle>'


def _name(shape: Shape, project: _Projection) -> str:
    x, y = project(shape.middle)
    is_left = x < _WIDTH * 0.75
    gap = 0 if shape.kind != "point" else 9 if is_left else -9
    anchor = "middle" if shape.kind != "point" else "start" if is_left else "end"
    at = f'x="{x + gap:.1f}" y="{y + 4:.1f}" text-anchor="{anchor}"'
    return f'<text class="label" {at}>{escape(shape.name)}</text>'
