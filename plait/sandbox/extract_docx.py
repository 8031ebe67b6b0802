"""Word documents: heading styles make chapters and sections, tables stay in their place."""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from docx import Document
from docx.opc.exceptions import OpcError
from docx.oxml.ns import qn
from docx.table import Table as DocxTable
from docx.text.paragraph import Paragraph as DocxParagraph

from plait.sandbox.extract_models import (
    Extracted,
    Limits,
    Paragraph,
    Table,
    UnreadableDocument,
    table_of,
    title_from,
)
from plait.sandbox.extract_outline import Outline

# lxml's XMLSyntaxError is a SyntaxError.
_UNREADABLE: Final = (OpcError, zipfile.BadZipFile, SyntaxError, KeyError, ValueError, OSError)
_HEADING: Final = re.compile(r"^heading (\d)$", re.IGNORECASE)
_LIST: Final = re.compile(r"^list", re.IGNORECASE)


def read_docx(path: Path, filename: str, limits: Limits) -> Extracted:
    """Read paragraphs, lists and tables in order; pages are counted by the breaks Word recorded."""
    try:
        document = Document(str(path))
        blocks = list(document.iter_inner_content())
        title = document.core_properties.title or _title(blocks) or title_from(filename)
        outline = Outline(title, limits)
        reader = _Reader(outline, title)
        for block in blocks:
            reader.read(block)
        author = document.core_properties.author or None
    except _UNREADABLE as error:
        if isinstance(error, UnreadableDocument):
            raise
        raise UnreadableDocument(f"{filename!r} is not a readable Word document: {error}") from error
    author = None if author == "python-docx" else author
    return Extracted(title=title, author=author, source_format="docx", chapters=outline.build())


def _title(blocks: list[Any]) -> str:
    for block in blocks:
        if isinstance(block, DocxParagraph) and _style(block) == "title":
            return " ".join(block.text.split())
    return ""


def _style(paragraph: DocxParagraph) -> str:
    return str(paragraph.style.name if paragraph.style is not None else "").lower()


class _Reader:
    """Walks the blocks and counts the page breaks on the way."""

    def __init__(self, outline: Outline, title: str) -> None:
        self._outline = outline
        self._title = title
        self._fresh_page = True

    def read(self, block: DocxParagraph | DocxTable) -> None:
        """Add one block to the outline."""
        if isinstance(block, DocxTable):
            table = _table(block)
            if table is not None:
                self._outline.add(table)
                self._fresh_page = False
            return
        before, after = self._breaks(block)
        self._outline.turn_to(self._outline.page_number + before)
        self._read_paragraph(block)
        self._outline.turn_to(self._outline.page_number + after)

    def _read_paragraph(self, block: DocxParagraph) -> None:
        text = " ".join(block.text.split())
        style = _style(block)
        heading = _HEADING.match(style)
        if heading:
            self._outline.heading(int(heading.group(1)), text)
        elif style != "title" or text != self._title:
            self._outline.add(Paragraph(text, bullet=_is_list(block, style)))

    def _breaks(self, block: DocxParagraph) -> tuple[int, int]:
        """Page breaks before the first letter of the paragraph, and after it."""
        counts = [0, 0]
        seen_text = 0
        for mark in _marks(block):
            if mark == "text":
                seen_text = 1
                self._fresh_page = False
            elif mark == "break" or not self._fresh_page:
                counts[seen_text] += 1
                self._fresh_page = True
        return counts[0], counts[1]


def _is_list(block: DocxParagraph, style: str) -> bool:
    properties = block._p.pPr  # noqa: SLF001  python-docx has no public word for numbering
    return bool(_LIST.match(style)) or (properties is not None and properties.numPr is not None)


def _marks(block: DocxParagraph) -> Iterator[str]:
    """`break` is one the author set; `rendered` is one Word noted, often right after the author's."""
    if block.paragraph_format.page_break_before:
        yield "break"
    for element in block._p.iter():  # noqa: SLF001  breaks inside runs have no public word either
        if element.tag == qn("w:t") and (element.text or "").strip():
            yield "text"
        elif element.tag == qn("w:lastRenderedPageBreak"):
            yield "rendered"
        elif element.tag == qn("w:br") and element.get(qn("w:type")) == "page":
            yield "break"


def _table(block: DocxTable) -> Table | None:
    """The grid of the table; a cell merged across columns is written once."""
    grid: list[list[str]] = []
    for row in block.rows:
        cells: list[str] = []
        previous: Any = None
        for cell in row.cells:
            cells.append("" if cell._tc is previous else cell.text)  # noqa: SLF001  identity of a merged cell
            previous = cell._tc  # noqa: SLF001  the same
        grid.append(cells)
    return table_of(grid)
