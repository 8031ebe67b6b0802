"""Content blocks: what an answer is made of (planck.md §3.2, §7).

The kinds are documented and their fields are not, so every model reads several shapes and keeps
fields it does not know. `parse_block` never raises for what a vendor sent: what cannot be read
becomes an `OpaqueBlock` with its raw text, so that one bad chart never costs the whole answer.
`ContentBlock` parses in place: `list[ContentBlock]` as a field reads vendor data and our own dumps.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from plait.content.tables import Column, read_table

MAX_DEPTH: Final = 64
"""Nesting beyond which a block is kept as text: a serializer gives up not much deeper."""

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_DATA_URI = re.compile(r"data:(?P<media_type>[\w.+-]+/[\w.+-]+)(?:;[^,;]*)*;base64,(?P<data>.*)", re.DOTALL)


def _to_label(value: Any) -> Any:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _to_text(value: Any) -> Any:
    return "" if value is None else str(value) if isinstance(value, int | float) else value


def _from_json_text(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) and value.strip() else value


Text: TypeAlias = Annotated[str, BeforeValidator(_to_text)]
"""Text that a vendor may send as a number or leave null."""
Label: TypeAlias = Annotated[str | None, BeforeValidator(_to_label)]
"""Optional text beside the content: anything else is kept as its JSON text."""
JsonObject: TypeAlias = Annotated[dict[str, Any], BeforeValidator(_from_json_text)]
"""An object that a vendor may send as a JSON string."""


def _names(*names: str) -> Any:
    return Field(validation_alias=AliasChoices(*names))


def _optional(*names: str) -> Any:
    return Field(default=None, validation_alias=AliasChoices(*names))


class _Tolerant(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, populate_by_name=True)


class Citation(_Tolerant):
    """Where a statement stands in a document [assumed]."""

    document_name: str
    document_id: Label = None
    section: Label = _optional("section", "section_title", "heading", "chapter")
    page: Label = _optional("page", "page_number", "start_page_number")
    """As the vendor words it: `7`, `7-9`, `iv`."""
    quote: Label = _optional("quote", "cited_text", "text", "excerpt")

    @model_validator(mode="before")
    @classmethod
    def _name_it(cls, raw: Any) -> Any:
        if isinstance(raw, str):
            return {"document_name": raw}
        if not isinstance(raw, Mapping):
            return {"document_name": json.dumps(raw)}
        document = raw.get("document")
        nested = _fields(document, prefix="document_")
        found = nested | dict(raw)
        keys = ("document_name", "document_title", "document", "file_name", "name", "title", "document_id")
        named = (found[key] for key in keys if isinstance(found.get(key), str) and found[key].strip())
        return found | {"document_name": next(named, "unnamed document")}


def _as_list(value: Any) -> Any:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


class TextBlock(_Tolerant):
    """Prose in Markdown."""

    type: Literal["text"] = "text"
    text: Text = _names("text", "content", "markdown")
    citations: Annotated[list[Citation], BeforeValidator(_as_list)] = Field(
        default_factory=list, validation_alias=AliasChoices("citations", "annotations")
    )


class CodeBlock(_Tolerant):
    """Source code, SQL included; it is shown and never run."""

    type: Literal["code"] = "code"
    language: Label = _optional("language", "lang")
    code: Text = _names("code", "text", "source", "sql", "content")


class TableBlock(_Tolerant):
    """Rows under named columns; every row has exactly one cell a column."""

    type: Literal["table"] = "table"
    title: Label = _optional("title", "caption", "name")
    columns: list[Column]
    rows: list[list[Any]]

    @model_validator(mode="before")
    @classmethod
    def _normalise(cls, raw: Any) -> Any:
        return read_table(raw) if isinstance(raw, Mapping) else raw

    @classmethod
    def of_rows(cls, rows: Sequence[Mapping[str, Any]], title: str | None = None) -> "TableBlock":
        """A table of objects, one column for each of their keys."""
        return cls.model_validate({"rows": [dict(row) for row in rows], "title": title})


class ChartBlock(_Tolerant):
    """A chart as its specification: Vega-Lite by default, ECharts and Plotly kept as they came."""

    type: Literal["chart"] = "chart"
    title: Label = None
    spec: JsonObject = _names(
        "spec", "chart_spec", "vega_lite", "vegalite", "option", "options", "figure", "data"
    )
    raw: Label = None
    """The specification's text where the vendor sent it as a string."""

    @model_validator(mode="before")
    @classmethod
    def _keep_text(cls, raw: Any) -> Any:
        if not isinstance(raw, Mapping) or "raw" in raw:
            return raw
        text = next((raw[key] for key in ("spec", "chart_spec") if isinstance(raw.get(key), str)), None)
        return dict(raw) | {"raw": text}


class Marker(_Tolerant):
    """A named point on a map, in degrees (WGS 84)."""

    latitude: float = _names("latitude", "lat")
    longitude: float = _names("longitude", "lng", "lon", "long")
    label: Label = _optional("label", "name", "title")


class MapBlock(_Tolerant):
    """A GeoJSON object, or a list of markers."""

    type: Literal["map"] = "map"
    title: Label = None
    geojson: JsonObject | None = _optional("geojson", "geo_json", "data")
    markers: Annotated[list[Marker], BeforeValidator(_as_list)] = Field(
        default_factory=list, validation_alias=AliasChoices("markers", "points", "locations")
    )
    center: Any = None
    zoom: float | None = None

    @model_validator(mode="after")
    def _shows_something(self) -> "MapBlock":
        if self.geojson is None and not self.markers:
            msg = "a map needs geojson or markers"
            raise ValueError(msg)
        return self


class ImageBlock(_Tolerant):
    """A picture, embedded as base64 in `data` or named by `url`, which Plait never loads."""

    type: Literal["image"] = "image"
    url: Label = None
    data: Label = None
    media_type: Label = _optional("media_type", "mime_type", "mediaType", "content_type")
    alt: Label = _optional("alt", "alt_text", "title", "caption")

    @model_validator(mode="before")
    @classmethod
    def _flatten(cls, raw: Any) -> Any:
        if not isinstance(raw, Mapping):
            return raw
        found = dict(raw)
        for key in ("source", "image_url"):
            inner = found.pop(key, None)
            if isinstance(inner, Mapping):
                found |= {name: inner[name] for name in ("url", "data", "media_type") if name in inner}
            elif isinstance(inner, str):
                found.setdefault("url", inner)
        embedded = _DATA_URI.fullmatch(str(found.get("url") or found.get("data") or ""))
        if embedded:
            found |= {"url": None, **embedded.groupdict()}
        return found

    @model_validator(mode="after")
    def _shows_something(self) -> "ImageBlock":
        if not self.url and not self.data:
            msg = "an image needs url or data"
            raise ValueError(msg)
        return self


class ToolUseBlock(_Tolerant):
    """A note that the assistant used a tool. Informational: the client never runs it."""

    type: Literal["tool_use"] = "tool_use"
    id: Label = _optional("id", "tool_use_id", "call_id")
    name: Text = _names("name", "tool", "tool_name")
    input: Any = _optional("input", "arguments", "args", "parameters")
    status: Label = None


class ToolResultBlock(_Tolerant):
    """What a tool answered, as far as the assistant shows it."""

    type: Literal["tool_result"] = "tool_result"
    tool_use_id: Label = _optional("tool_use_id", "id", "call_id")
    name: Label = _optional("name", "tool", "tool_name")
    content: Any = _optional("content", "output", "result", "text")
    is_error: bool = False
    status: Label = None


class ThinkingBlock(_Tolerant):
    """The assistant's reasoning; no part of the answer."""

    type: Literal["thinking"] = "thinking"
    thinking: Text = _names("thinking", "text", "summary", "content")


class OpaqueBlock(_Tolerant):
    """A block that could not be read: its kind as the vendor named it, and all of its raw text."""

    type: Literal["opaque"] = "opaque"
    kind: str
    raw: str


KnownBlock: TypeAlias = (
    TextBlock
    | CodeBlock
    | TableBlock
    | ChartBlock
    | MapBlock
    | ImageBlock
    | ToolUseBlock
    | ToolResultBlock
    | ThinkingBlock
    | OpaqueBlock
)

_MODELS: Final[Mapping[str, type[KnownBlock]]] = {
    "text": TextBlock,
    "code": CodeBlock,
    "table": TableBlock,
    "chart": ChartBlock,
    "map": MapBlock,
    "image": ImageBlock,
    "tool_use": ToolUseBlock,
    "tool_result": ToolResultBlock,
    "thinking": ThinkingBlock,
    "opaque": OpaqueBlock,
}
_SYNONYMS: Final[Mapping[str, str]] = {
    "prose": "text",
    "markdown": "text",
    "output_text": "text",
    "source_code": "code",
    "sql": "code",
    "tabular_data": "table",
    "result_set": "table",
    "graph": "chart",
    "picture": "image",
    "tool": "tool_use",
    "tool_call": "tool_use",
    "tool_use_note": "tool_use",
    "tool_output": "tool_result",
    "reasoning": "thinking",
}


def parse_block(raw: Any) -> KnownBlock:
    """Read one block of an answer, whatever its dialect; a bare string is prose.

    Never raises: an unknown kind or an unreadable payload becomes an `OpaqueBlock`. Text that no
    database stores (NUL, lone surrogates) is replaced by U+FFFD, NaN and infinities by null.
    Parsing the dump of a parsed block gives the same block.
    """
    if isinstance(raw, BaseModel):
        return raw if isinstance(raw, KnownBlock) else parse_block(raw.model_dump())
    if isinstance(raw, str):
        return TextBlock(text=_storable(raw, 0))
    if not isinstance(raw, Mapping):
        return OpaqueBlock(kind="", raw=_raw_text(raw))
    word = raw.get("type")
    kind = word if isinstance(word, str) else ""
    try:
        return _parse_known(_storable(raw, 0), kind)
    except (ValueError, TypeError, RecursionError):  # pydantic's ValidationError is a ValueError
        return OpaqueBlock(kind=_UNSTORABLE.sub("\ufffd", kind), raw=_raw_text(raw))


def _parse_known(raw: dict[str, Any], word: str) -> KnownBlock:
    kind = _kind(word)
    model = _MODELS.get(kind)
    if model is None:
        msg = f"unknown block type {word!r}"
        raise ValueError(msg)
    inner = _fields(raw.get(kind))  # Snowflake nests a block's fields under its kind
    fields = {key: value for key, value in raw.items() if not inner or key != kind} | inner
    if word.lower() == "sql":
        fields.setdefault("language", "sql")
    return model.model_validate(fields | {"type": kind})


def _kind(word: str) -> str:
    """The name of a kind without case, hyphens and plural."""
    plain = word.strip().lower().replace("-", "_").replace(" ", "_")
    candidates = (plain, plain.removesuffix("s"))
    known = (_SYNONYMS.get(name, name) for name in candidates)
    return next((name for name in known if name in _MODELS), plain)


def _storable(value: Any, depth: int) -> Any:
    """A copy of `value` that JSON, SQLite and PostgreSQL can all hold."""
    if depth > MAX_DEPTH:
        msg = f"nested deeper than {MAX_DEPTH}"
        raise ValueError(msg)
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_storable(str(key), depth): _storable(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(item, depth + 1) for item in value]
    return value


def _raw_text(raw: Any) -> str:
    try:
        text = json.dumps(raw, ensure_ascii=False, default=str)
    except (ValueError, TypeError, RecursionError):
        text = "(nested too deeply to be kept)"
    return _UNSTORABLE.sub("\ufffd", text)


def _fields(value: Any, prefix: str = "") -> dict[str, Any]:
    return {f"{prefix}{key}": item for key, item in value.items()} if isinstance(value, Mapping) else {}


ContentBlock = Annotated[KnownBlock, BeforeValidator(parse_block)]
"""Any block, for annotations: validating it is `parse_block`."""
