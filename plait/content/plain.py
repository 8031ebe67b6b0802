"""Blocks as text for a terminal: no control characters, tables aligned by display width."""

import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from plait.content.blocks import (
    ChartBlock,
    CodeBlock,
    ImageBlock,
    KnownBlock,
    MapBlock,
    OpaqueBlock,
    TableBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from plait.content.charts import inline_rows
from plait.content.facts import citation_place, describe_image, json_text, map_rows
from plait.content.tables import cell_text, numeric_columns
from plait.content.text import counted, one_line, printable

MAX_ROWS: Final = 50
MAX_CELL: Final = 40
MAX_RAW: Final = 1_000


def to_plain(blocks: Iterable[KnownBlock]) -> str:
    """`blocks` for a terminal; reasoning is left out, and what is cut is counted."""
    parts = (_PRINTERS[type(block)](block) for block in blocks)
    return "\n\n".join(part for part in parts if part)


def display_width(text: str) -> int:
    """Columns that `text` takes in a terminal: wide characters two, combining ones none."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def align(header: list[str], rows: list[list[str]], numeric: frozenset[int] = frozenset()) -> str:
    """A table of plain lines; columns in `numeric` are right-aligned."""
    widths = [max(map(display_width, cells)) for cells in zip(header, *rows, strict=True)]
    rule = ["─" * width for width in widths]
    return "\n".join(_aligned(row, widths, numeric) for row in [header, rule, *rows])


def _aligned(row: list[str], widths: list[int], numeric: frozenset[int]) -> str:
    cells = []
    for number, (cell, width) in enumerate(zip(row, widths, strict=True)):
        space = " " * (width - display_width(cell))
        cells.append(space + cell if number in numeric else cell + space)
    return "  ".join(cells).rstrip()


def _text(block: TextBlock) -> str:
    sources = [
        f"  [{number}] {', '.join([one_line(one.document_name, 120), *citation_place(one)])}"
        + (f"\n      “{one_line(one.quote, 300)}”" if one.quote else "")
        for number, one in enumerate(block.citations, 1)
    ]
    return "\n".join([printable(block.text).strip(), *sources]).strip()


def _code(block: CodeBlock) -> str:
    return "\n".join(f"    {line}" for line in printable(block.code).rstrip("\n").split("\n"))


def _table(block: TableBlock) -> str:
    if not block.columns:
        return "(an empty table)"
    shown = block.rows[:MAX_ROWS]
    header = [one_line(column.name, MAX_CELL) for column in block.columns]
    rows = [[one_line(cell_text(cell), MAX_CELL) for cell in row] for row in shown]
    lines = [one_line(block.title)] if block.title else []
    lines.append(align(header, rows, numeric_columns(block.columns, block.rows)))
    more = len(block.rows) - len(shown)
    return "\n".join([*lines, f"… {counted(more, 'more row')}"] if more else lines)


def _chart(block: ChartBlock) -> str:
    rows = inline_rows(block.spec)
    title = one_line(block.title or "Chart", 120)
    return (
        f"{title}\n{_table(TableBlock.of_rows(rows))}" if rows else f"{title}: {_cut(json_text(block.spec))}"
    )


def _map(block: MapBlock) -> str:
    title = one_line(block.title or "Map", 120)
    try:
        return f"{title}\n{_table(map_rows(block))}"
    except ValueError:
        return f"{title}: {_cut(json_text(block.geojson))}"


def _image(block: ImageBlock) -> str:
    url = f" {one_line(block.url, 500)}" if block.url else ""
    return f"[{one_line(describe_image(block), 300)}]{url}"


def _tool_use(block: ToolUseBlock) -> str:
    status = f", {one_line(block.status, 60)}" if block.status else ""
    return f"[tool used: {one_line(block.name, 80)}{status}]"


def _tool_result(block: ToolResultBlock) -> str:
    return f"[tool {'failed' if block.is_error else 'result'}] {_cut(json_text(block.content))}"


def _opaque(block: OpaqueBlock) -> str:
    return f"[a block Plait could not read ({one_line(block.kind, 60) or 'no type'})] {_cut(block.raw)}"


def _cut(text: str) -> str:
    whole = printable(text)
    more = len(whole) - MAX_RAW
    return f"{whole[:MAX_RAW]} … {counted(more, 'more character')}" if more > 0 else whole


_PRINTERS: Final[Mapping[type[KnownBlock], Callable[[Any], str]]] = {
    TextBlock: _text,
    CodeBlock: _code,
    TableBlock: _table,
    ChartBlock: _chart,
    MapBlock: _map,
    ImageBlock: _image,
    ToolUseBlock: _tool_use,
    ToolResultBlock: _tool_result,
    ThinkingBlock: lambda _: "",
    OpaqueBlock: _opaque,
}
