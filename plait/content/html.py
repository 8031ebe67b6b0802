"""Blocks as HTML fragments: sanitised, without script, style attributes or anything to load.

Only prose passes through a Markdown parser and nh3; everything else is built from escaped text,
so that an element in the output is one this module wrote.
"""

import base64
from collections.abc import Callable, Iterable, Mapping
from html import escape
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
from plait.content.charts import Chart, NotDrawable, inline_rows, read_chart
from plait.content.facts import citation_place, describe_image, json_text, map_rows, picture
from plait.content.geo import draw_map, shapes
from plait.content.prose import prose_html, safe_url
from plait.content.svg import draw
from plait.content.tables import cell_text, numeric_columns
from plait.content.text import counted, one_line, printable

MAX_ROWS: Final = 1_000
MAX_RAW: Final = 100_000
"""Characters of code, JSON or raw text shown of one block."""
LONG_TABLE: Final = 15
"""Rows from which a table scrolls in a box of its own, under its header."""


def text_html(text: str | None, limit: int | None = None) -> str:
    """`text` on one line as character data, safe inside elements and quoted attributes."""
    return escape(one_line(text or "", limit))


def lines_html(text: str, limit: int) -> str:
    """`text` with its line ends, at most `limit` characters of it."""
    whole = printable(text).strip()
    return escape(whole if len(whole) <= limit else f"{whole[:limit]}…")


def number_class(numeric: bool) -> str:
    """The attribute of a cell, which says whether it is set to the right."""
    return ' class="num"' if numeric else ""


def scroll_box(table: str, *, label: str, rows: int) -> str:
    """`table` in a box that scrolls by touch and by keyboard; `label` is plain text."""
    kind = "scroll long" if rows > LONG_TABLE else "scroll"
    return (
        f'<div class="{kind}" role="region" tabindex="0" aria-label="{text_html(label, 300)}">{table}</div>'
    )


class TurnHtml:
    """The blocks of one turn; numbers the sources they cite, each place once."""

    def __init__(self, number: int) -> None:
        self._prefix = f"t{number}"
        self._sources: dict[tuple[str, ...], tuple[int, Citation]] = {}

    def blocks(self, blocks: Iterable[KnownBlock]) -> str:
        """All blocks, in order."""
        return "\n".join(self._block(block) for block in blocks)

    def chips(self, citations: Iterable[Citation]) -> str:
        """Small links to the sources, such as `1 · contract.pdf, p. 7`."""
        numbered = dict([self._number(citation) for citation in citations])
        chips = [
            f'<li><a class="chip" href="#{self._prefix}-s{number}"><b>{number}</b> '
            f"{text_html(_place(citation, document=True), 60)}</a></li>"
            for number, citation in numbered.items()
        ]
        return f'<ul class="chips" aria-label="Sources cited">{"".join(chips)}</ul>' if chips else ""

    def sources(self) -> str:
        """The list that the chips point to, with the quotes."""
        items = [
            f'<li id="{self._prefix}-s{number}"><cite>{text_html(citation.document_name)}</cite>'
            f"{_after(', ', text_html(_place(citation)))}{_quote(citation)}</li>"
            for number, citation in self._sources.values()
        ]
        if not items:
            return ""
        return f'<section class="sources"><h4>Sources</h4><ol>{"".join(items)}</ol></section>'

    def _block(self, block: KnownBlock) -> str:
        if isinstance(block, TextBlock):
            return f'<div class="prose">{prose_html(block.text)}</div>{self.chips(block.citations)}'
        return block_html(block)

    def _number(self, citation: Citation) -> tuple[int, Citation]:
        document = (citation.document_id or "", citation.document_name)
        words = (*document, *citation_place(citation), citation.quote or "")
        return self._sources.setdefault(words, (len(self._sources) + 1, citation))


def block_html(block: KnownBlock) -> str:
    """One block other than prose, which needs a `TurnHtml` for its citations."""
    return _PRINTERS[type(block)](block)


def table_html(block: TableBlock) -> str:
    """A real table: caption, scoped headers, numbers to the right, at most `MAX_ROWS` rows."""
    numeric = numeric_columns(block.columns, block.rows)
    head = "".join(
        f'<th scope="col"{number_class(number in numeric)}>{text_html(column.name, 200) or "&nbsp;"}</th>'
        for number, column in enumerate(block.columns)
    )
    rows = block.rows[:MAX_ROWS]
    body = "".join(f"<tr>{''.join(_cells(row, numeric))}</tr>" for row in rows)
    title = one_line(block.title or "", 300)
    size = counted(len(block.rows), "row") if len(block.rows) > LONG_TABLE else ""
    words = " · ".join(part for part in (title, size) if part)
    caption = f"<caption>{escape(words)}</caption>" if words else ""
    table = f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    more = len(block.rows) - len(rows)
    note = f'<p class="note">… {counted(more, "more row")}</p>' if more else ""
    return scroll_box(table, label=f"Table{_after(': ', title)}", rows=len(rows)) + note


def folded(summary: str, content: str, kind: str = "fold") -> str:
    """`content`, which is HTML already, behind a summary of plain text."""
    return f'<details class="{kind}"><summary>{text_html(summary, 200)}</summary>{content}</details>'


def raw_html(text: str) -> str:
    """Text as it came, cut after `MAX_RAW` characters with a note."""
    whole = printable(text)
    more = len(whole) - MAX_RAW
    note = f'<p class="note">… {counted(more, "more character")}</p>' if more > 0 else ""
    return f'<pre tabindex="0"><code>{escape(whole[:MAX_RAW])}</code></pre>{note}'


def _cells(row: list[Any], numeric: frozenset[int]) -> Iterable[str]:
    for number, cell in enumerate(row):
        yield f"<td{number_class(number in numeric)}>{lines_html(cell_text(cell), 2_000)}</td>"


def _after(separator: str, text: str) -> str:
    return f"{separator}{text}" if text else ""


def _place(citation: Citation, *, document: bool = False) -> str:
    place = citation_place(citation)
    return ", ".join([citation.document_name, *place[-1:]] if document else place)


def _quote(citation: Citation) -> str:
    return f"<blockquote>{text_html(citation.quote, 2_000)}</blockquote>" if citation.quote else ""


def _figure(kind: str, title: str | None, content: str) -> str:
    caption = f"<figcaption>{text_html(title, 300)}</figcaption>" if title and one_line(title) else ""
    return f'<figure class="{kind}">{caption}{content}</figure>'


def _code(block: CodeBlock) -> str:
    return _figure("code", block.language, raw_html(block.code.rstrip("\n")))


def _table(block: TableBlock) -> str:
    return f'<div class="table">{table_html(block)}</div>'


def _chart(block: ChartBlock) -> str:
    rows = inline_rows(block.spec)
    title = one_line(block.title or _spec_title(block.spec), 300)
    data = table_html(TableBlock.of_rows(rows)) if rows else ""
    spec = folded("Chart specification", raw_html(json_text(block.spec)))
    try:
        chart = read_chart(block.spec)
    except NotDrawable as reason:
        shown = "here are its data" if rows else "here is its specification"
        why = f'<p class="note">Not drawn ({text_html(str(reason), 200)}); {shown}.</p>'
        return _figure("chart", title or "Chart", f"{why}{data}{spec}")
    label = f"{chart.mark.capitalize()} chart{_after(': ', title)}. The data follow as a table."
    drawing = f'<div class="canvas" role="group" tabindex="0" aria-label="Chart">{draw(chart, label)}</div>'
    return _figure("chart", title, f"{drawing}{_legend(chart)}{folded('Data', data)}")


def _spec_title(spec: Mapping[str, Any]) -> str:
    title = spec.get("title")
    words = title.get("text") if isinstance(title, Mapping) else title
    return words if isinstance(words, str) else ""


def _legend(chart: Chart) -> str:
    if len(chart.series) < 2:  # noqa: PLR2004 - one colour needs no key
        return ""
    keys = [
        '<li><svg class="key" viewBox="0 0 10 10" aria-hidden="true">'
        f'<rect class="bar s{number}" width="10" height="10" rx="2"/></svg>'
        f"{text_html(one.name, 60) or '(none)'}</li>"
        for number, one in enumerate(chart.series)
    ]
    return f'<ul class="legend">{"".join(keys)}</ul>'


def _map(block: MapBlock) -> str:
    try:
        found, rows = shapes(block), map_rows(block)
    except ValueError as reason:
        why = f'<p class="note">Not drawn ({text_html(str(reason), 200)}); here it is as it came.</p>'
        raw = folded("GeoJSON", raw_html(json_text(block.geojson)))
        return _figure("map", block.title or "Map", f"{why}{raw}")
    label = f"Map{_after(': ', one_line(block.title or ''))}. The coordinates follow as a table."
    table = folded("Coordinates", table_html(rows))
    return _figure("map", block.title, f'<div class="canvas">{draw_map(found, label)}</div>{table}')


def _image(block: ImageBlock) -> str:
    shown = picture(block)
    if shown:
        media_type, content = shown
        source = f"data:{media_type};base64,{base64.b64encode(content).decode()}"
        alt = text_html(block.alt or "Image without a description", 500)
        return _figure("image", block.alt, f'<img src="{source}" alt="{alt}">')
    words = text_html(describe_image(block), 300)
    url = safe_url(block.url or "")
    if url is None:
        return f'<p class="note">{words} (cannot be shown){_after(": ", text_html(block.url, 300))}</p>'
    link = f'<a href="{escape(url)}" rel="noopener noreferrer nofollow">{text_html(url, 120)}</a>'
    return f'<p class="note">{words}, not loaded: {link}</p>'


def _tool_use(block: ToolUseBlock) -> str:
    status = _after(" · ", one_line(block.status or ""))
    asked = raw_html(json_text(block.input)) if block.input is not None else ""
    return folded(f"Tool used: {block.name or 'unnamed'}{status}", asked, "fold tool")


def _tool_result(block: ToolResultBlock) -> str:
    words = "Tool failed" if block.is_error else "Tool result"
    return folded(f"{words}{_after(': ', block.name or '')}", raw_html(json_text(block.content)), "fold tool")


def _thinking(block: ThinkingBlock) -> str:
    return folded("Reasoning", f'<div class="prose">{prose_html(block.thinking)}</div>', "fold thinking")


def _opaque(block: OpaqueBlock) -> str:
    kind = one_line(block.kind, 60) or "no type"
    return folded(f"A block Plait could not read ({kind}), as it came", raw_html(block.raw), "fold opaque")


_PRINTERS: Final[Mapping[type[KnownBlock], Callable[[Any], str]]] = {
    TextBlock: lambda block: f'<div class="prose">{prose_html(block.text)}</div>',
    CodeBlock: _code,
    TableBlock: _table,
    ChartBlock: _chart,
    MapBlock: _map,
    ImageBlock: _image,
    ToolUseBlock: _tool_use,
    ToolResultBlock: _tool_result,
    ThinkingBlock: _thinking,
    OpaqueBlock: _opaque,
}
