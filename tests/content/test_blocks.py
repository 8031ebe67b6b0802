"""Every shape of a content block that planck.md §3.2 lists is read, and nothing is ever lost."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter

from plait.content.blocks import (
    ChartBlock,
    CodeBlock,
    ContentBlock,
    ImageBlock,
    MapBlock,
    OpaqueBlock,
    TableBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    parse_block,
)

BLOCKS = TypeAdapter(list[ContentBlock])
RESULT_SET = {
    "data": [["Q1", "10.50"], ["Q2", None]],
    "resultSetMetaData": {
        "rowType": [{"name": "QUARTER", "type": "TEXT"}, {"name": "AMOUNT", "type": "FIXED"}]
    },
}
POINT = {"type": "Point", "coordinates": [8.5, 47.4]}

VARIANTS = [
    ("bare string", "hello", TextBlock, {"text": "hello"}),
    ("text", {"type": "text", "text": "hi"}, TextBlock, {"text": "hi", "citations": []}),
    ("text null", {"type": "text", "text": None}, TextBlock, {"text": ""}),
    ("text null citations", {"type": "text", "text": "a", "citations": None}, TextBlock, {"citations": []}),
    ("text plural", {"type": "Texts", "text": "hi"}, TextBlock, {"text": "hi"}),
    ("prose", {"type": "prose", "content": "hi"}, TextBlock, {"text": "hi"}),
    ("code", {"type": "code", "language": "sql", "code": "a"}, CodeBlock, {"language": "sql", "code": "a"}),
    ("code as text", {"type": "code", "text": "a"}, CodeBlock, {"language": None, "code": "a"}),
    ("source-code", {"type": "source-code", "code": "a"}, CodeBlock, {"code": "a"}),
    ("sql", {"type": "sql", "sql": "select 1"}, CodeBlock, {"language": "sql", "code": "select 1"}),
    (
        "chart",
        {"type": "charts", "spec": {"mark": "bar"}},
        ChartBlock,
        {"spec": {"mark": "bar"}, "raw": None},
    ),
    ("chart text", {"type": "chart", "spec": '{"mark": "bar"}'}, ChartBlock, {"spec": {"mark": "bar"}}),
    ("chart raw", {"type": "chart", "spec": '{"a":1}'}, ChartBlock, {"raw": '{"a":1}'}),
    ("chart nested", {"type": "chart", "chart": {"chart_spec": '{"a":1}'}}, ChartBlock, {"spec": {"a": 1}}),
    ("chart echarts", {"type": "chart", "option": {"series": []}}, ChartBlock, {"spec": {"series": []}}),
    ("map", {"type": "map", "geojson": POINT, "zoom": 4}, MapBlock, {"geojson": POINT, "zoom": 4.0}),
    ("map text", {"type": "maps", "geojson": json.dumps(POINT)}, MapBlock, {"geojson": POINT}),
    ("image url", {"type": "image", "url": "https://a.example/x.png"}, ImageBlock, {"data": None}),
    (
        "image data",
        {"type": "images", "data": "AAAA", "media_type": "image/png"},
        ImageBlock,
        {"data": "AAAA"},
    ),
    (
        "image data URI",
        {"type": "image", "url": "data:image/png;base64,AAAA"},
        ImageBlock,
        {"url": None, "data": "AAAA", "media_type": "image/png"},
    ),
    (
        "image of Anthropic",
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
        ImageBlock,
        {"data": "AAAA", "media_type": "image/png", "url": None},
    ),
    (
        "image of OpenAI",
        {"type": "image", "image_url": {"url": "https://a.example/"}},
        ImageBlock,
        {"data": None},
    ),
    (
        "tool use",
        {"type": "tool_use", "id": "1", "name": "s", "input": {"q": 1}},
        ToolUseBlock,
        {"name": "s"},
    ),
    ("tool-uses", {"type": "tool-uses", "id": 7, "name": "s", "status": "done"}, ToolUseBlock, {"id": "7"}),
    ("tool result", {"type": "tool_result", "content": [{"a": 1}]}, ToolResultBlock, {"content": [{"a": 1}]}),
    ("thinking", {"type": "thinking", "thinking": "hm"}, ThinkingBlock, {"thinking": "hm"}),
    ("thinking text", {"type": "reasoning", "text": "hm"}, ThinkingBlock, {"thinking": "hm"}),
]


@pytest.mark.parametrize(
    ("raw", "model", "fields"), [case[1:] for case in VARIANTS], ids=[c[0] for c in VARIANTS]
)
def test_every_listed_shape_is_read(raw, model, fields):
    """A shape in the contract notes becomes its model with the fields in their places."""
    block = parse_block(raw)
    assert type(block) is model
    assert {name: getattr(block, name) for name in fields} == fields


@pytest.mark.parametrize(
    ("raw", "names", "types", "rows"),
    [
        ({"columns": ["a", "b"], "rows": [[1, 2]]}, ["a", "b"], [None, None], [[1, 2]]),
        ({"columns": [{"name": "a", "type": "INT"}], "rows": [[1]]}, ["a"], ["INT"], [[1]]),
        ({"columns": ["b", "a"], "rows": [{"a": 1, "b": 2}]}, ["b", "a"], [None, None], [[2, 1]]),
        ({"rows": [{"a": 1}, {"b": 2}]}, ["a", "b"], [None, None], [[1, None], [None, 2]]),
        ({"columns": [{"field": "x", "title": "X"}], "rows": [{"x": 1}]}, ["X"], [None], [[1]]),
        ({"columns": ["a"], "rows": [[1, 2], []]}, ["a", "Column 2"], [None, None], [[1, 2], [None, None]]),
        ({"columns": ["a"], "rows": [3]}, ["a"], [None], [[3]]),
        ({"columns": ["a"]}, ["a"], [None], []),
        ({"result_set": RESULT_SET}, ["QUARTER", "AMOUNT"], ["TEXT", "FIXED"], RESULT_SET["data"]),
        ({"table": {"result_set": RESULT_SET}}, ["QUARTER", "AMOUNT"], ["TEXT", "FIXED"], RESULT_SET["data"]),
    ],
)
def test_tables_become_named_columns_and_rows_of_equal_length(raw, names, types, rows):
    """Rows as lists or objects, and Snowflake's result set, end in one form with no cell lost."""
    table = parse_block({"type": "table", **raw})
    assert isinstance(table, TableBlock)
    assert [column.name for column in table.columns] == names
    assert [column.type for column in table.columns] == types
    assert table.rows == rows


def test_markers_are_read_with_every_spelling_of_longitude():
    """A list of markers is a map without GeoJSON."""
    markers = [{"lat": 1, "lng": "2", "name": "A"}, {"latitude": 3.5, "lon": 4}]
    block = parse_block({"type": "map", "markers": markers})
    assert isinstance(block, MapBlock)
    assert [(one.latitude, one.longitude, one.label) for one in block.markers] == [
        (1, 2, "A"),
        (3.5, 4, None),
    ]


@pytest.mark.parametrize(
    ("raw", "name", "page", "quote"),
    [
        ({"document_name": "a.pdf", "page": 7, "quote": "q"}, "a.pdf", "7", "q"),
        ({"document_title": "a.pdf", "cited_text": "q", "start_page_number": 2}, "a.pdf", "2", "q"),
        ({"document": {"id": "1", "name": "a.pdf"}}, "a.pdf", None, None),
        ({"document_id": "d-1", "page": [1, 2]}, "d-1", "[1, 2]", None),
        ("a.pdf", "a.pdf", None, None),
        ({}, "unnamed document", None, None),
        (17, "17", None, None),
    ],
)
def test_citations_are_read_and_none_costs_the_text(raw, name, page, quote):
    """Whatever a citation looks like, the text stays and the citation has a name."""
    block = parse_block({"type": "text", "text": "t", "citations": [raw]})
    assert isinstance(block, TextBlock)
    (citation,) = block.citations
    assert (citation.document_name, citation.page, citation.quote) == (name, page, quote)


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        ({"type": "hologram", "depth": 3}, "hologram"),
        ({"type": "chart", "spec": '{"mark": "ba'}, "chart"),
        ({"type": "table", "rows": '[["a"'}, "table"),
        ({"type": "map"}, "map"),
        ({"type": "image", "alt": "nothing"}, "image"),
        ({"type": "text"}, "text"),
        ({"type": ["text"]}, ""),
        ({}, ""),
        (None, ""),
        ([1, 2], ""),
    ],
)
def test_what_cannot_be_read_keeps_its_kind_and_all_of_its_raw_text(raw, kind):
    """An unknown or broken block is opaque and complete, never an error."""
    block = parse_block(raw)
    assert isinstance(block, OpaqueBlock)
    assert block.kind == kind
    assert json.loads(block.raw) == raw


def test_unknown_fields_are_kept():
    """A field that the contract does not know is still there after reading and writing."""
    block = parse_block({"type": "text", "text": "t", "confidence": 0.5})
    assert block.model_dump()["confidence"] == 0.5


def test_text_that_no_database_stores_is_replaced():
    """NUL and lone surrogates become U+FFFD and NaN null, so that the ledger can keep the block."""
    block = parse_block({"type": "table", "rows": [["a\x00b\ud800", float("nan")]]})
    assert isinstance(block, TableBlock)
    assert block.rows == [["a\ufffdb\ufffd", None]]


def test_nesting_beyond_reason_is_kept_as_text():
    """Depth that would break a serializer ends in an opaque block with the JSON."""
    raw = {"type": "chart", "spec": {}}
    inner = raw["spec"]
    for _ in range(100):
        inner["a"] = {}
        inner = inner["a"]
    block = parse_block(raw)
    assert isinstance(block, OpaqueBlock)
    assert json.loads(block.raw) == raw


def test_a_model_reads_vendor_blocks_in_place():
    """`list[ContentBlock]` as a field reads raw blocks and never refuses one."""

    class Answer(BaseModel):
        content: list[ContentBlock]

    answer = Answer.model_validate({"content": ["hi", {"type": "codes", "text": "x"}, {"type": "new"}]})
    assert [type(block) for block in answer.content] == [TextBlock, CodeBlock, OpaqueBlock]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
WORDS = st.sampled_from(
    ["text", "codes", "table", "chart", "map", "image", "tool_use", "tool_result", "thinking", "opaque", "x"]
)
FIELDS = st.sampled_from(
    [
        *("text", "code", "columns", "rows", "spec", "geojson", "markers", "data", "url", "source", "input"),
        *("content", "title", "citations", "table", "kind", "raw"),
    ]
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(kind=WORDS, fields=st.dictionaries(FIELDS, JSON, max_size=5))
def test_any_json_is_read_and_survives_storage(kind, fields):
    """No JSON raises; the parsed block written as JSON and read again is the same block."""
    block = parse_block({**fields, "type": kind})
    stored = BLOCKS.dump_json([block])
    assert BLOCKS.validate_json(stored) == [block]
