"""Blocks as Markdown for a renderer we do not control, such as Prefect's artifacts.

Nothing of the vendor reaches the output as markup: prose is printed anew, everything else is
escaped or fenced. What is left out for size is counted in the output. Reasoning is no part of the
answer and is left out.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from plait.content.blocks import (
    ChartBlock,
    Citation,
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
from plait.content.prose import safe_url
from plait.content.remark import (
    code_span,
    escape_cell,
    escape_markdown,
    fenced,
    pipe_table,
    safe_markdown,
)
from plait.content.tables import cell_text, numeric_columns
from plait.content.text import counted, one_line, printable


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is shown; what is left out is named in the output."""

    rows: int = 200
    cell: int = 300
    """Characters of one cell."""
    text: int = 20_000
    """Characters of one block of prose or code."""
    total: int = 64_000
    """Characters of the whole; Prefect itself has no cap, and its page slows down with megabytes."""


def to_markdown(blocks: Iterable[KnownBlock], limits: Limits = Limits()) -> str:
    """`blocks` as Markdown that is safe in any renderer and at most about `limits.total` long."""
    parts: list[str] = []
    left_out = 0
    used = 0
    for block in blocks:
        part = block_to_markdown(block, limits)
        if not part or used + len(part) > limits.total:
            left_out += bool(part)
            continue
        parts.append(part)
        used += len(part) + 2
    if left_out:
        parts.append(f"*… {counted(left_out, 'more block')}, too large to show here*")
    return "\n\n".join(parts)


def block_to_markdown(block: KnownBlock, limits: Limits = Limits()) -> str:
    """One block; empty for reasoning."""
    return _PRINTERS[type(block)](block, limits)


def _text(block: TextBlock, limits: Limits) -> str:
    text, rest = _cut(block.text, limits.text)
    sources = [_source(citation) for citation in block.citations]
    listed = "\n".join(["Sources:", "", *sources]) if sources else ""
    return "\n\n".join(part for part in (safe_markdown(text), rest, listed) if part)


def _source(citation: Citation) -> str:
    place = "".join(f", {escape_cell(part, 120)}" for part in citation_place(citation))
    quote = f": “{escape_cell(citation.quote, 400)}”" if citation.quote else ""
    return f"- **{escape_cell(citation.document_name, 200)}**{place}{quote}"


def _code(block: CodeBlock, limits: Limits) -> str:
    code, rest = _cut(block.code, limits.text)
    return "\n\n".join(part for part in (fenced(code, block.language or ""), rest) if part)


def _table(block: TableBlock, limits: Limits) -> str:
    shown = block.rows[: limits.rows]
    header = [escape_cell(column.name, limits.cell) or " " for column in block.columns]
    rows = [[escape_cell(cell_text(cell), limits.cell) for cell in row] for row in shown]
    table = pipe_table(header, rows, numeric_columns(block.columns, block.rows))
    more = len(block.rows) - len(shown)
    parts = [
        _heading(block.title),
        table if header else "",
        f"*… {counted(more, 'more row')}*" if more else "",
    ]
    return "\n\n".join(part for part in parts if part)


def _chart(block: ChartBlock, limits: Limits) -> str:
    rows = inline_rows(block.spec)
    heading = _heading(block.title or "Chart")
    if not rows:
        code, rest = _cut(json_text(block.spec), limits.text)
        return "\n\n".join(part for part in (heading, fenced(code, "json"), rest) if part)
    return f"{heading}\n\n{_table(TableBlock.of_rows(rows), limits)}"


def _map(block: MapBlock, limits: Limits) -> str:
    heading = _heading(block.title or "Map")
    try:
        return f"{heading}\n\n{_table(map_rows(block), limits)}"
    except ValueError:
        code, rest = _cut(json_text(block.geojson), limits.text)
        return "\n\n".join(part for part in (heading, fenced(code, "json"), rest) if part)


def _image(block: ImageBlock, _: Limits) -> str:
    words = escape_cell(describe_image(block), 300)
    url = safe_url(block.url or "")
    return f"[{words}](<{url}>)" if url else f"*{words}*"


def _tool_use(block: ToolUseBlock, _: Limits) -> str:
    status = f", {escape_cell(block.status, 60)}" if block.status else ""
    return f"*Tool used:* {code_span(one_line(block.name, 80) or 'unnamed')}{status}"


def _tool_result(block: ToolResultBlock, limits: Limits) -> str:
    words = "Tool failed" if block.is_error else "Tool result"
    code, rest = _cut(json_text(block.content), min(limits.text, 2_000))
    return "\n\n".join(part for part in (f"*{words}:*", fenced(code), rest) if part)


def _opaque(block: OpaqueBlock, limits: Limits) -> str:
    code, rest = _cut(block.raw, min(limits.text, 4_000))
    words = f"*A block Plait could not read ({escape_cell(block.kind, 60) or 'no type'}), as it came:*"
    return "\n\n".join(part for part in (words, fenced(code), rest) if part)


def _heading(title: str | None) -> str:
    return f"**{escape_cell(title, 200)}**" if title and one_line(title) else ""


def _cut(text: str, limit: int) -> tuple[str, str]:
    """The beginning of `text`, at a line's end where there is one, and a note of what is missing."""
    whole = printable(text)
    if len(whole) <= limit:
        return whole, ""
    end = whole.rfind("\n", limit // 2, limit)
    shown = whole[: end if end > 0 else limit]
    return shown, f"*… {counted(len(whole) - len(shown), 'more character')}*"


_PRINTERS: Final[Mapping[type[KnownBlock], Callable[[Any, Limits], str]]] = {
    TextBlock: _text,
    CodeBlock: _code,
    TableBlock: _table,
    ChartBlock: _chart,
    MapBlock: _map,
    ImageBlock: _image,
    ToolUseBlock: _tool_use,
    ToolResultBlock: _tool_result,
    ThinkingBlock: lambda _, __: "",
    OpaqueBlock: _opaque,
}

__all__ = ["Limits", "block_to_markdown", "escape_cell", "escape_markdown", "to_markdown"]
