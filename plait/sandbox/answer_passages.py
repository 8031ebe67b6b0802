"""Cuts Markdown into passages that can be cited, and takes inline documents out of a message.

Reads what `extract.to_markdown` writes, and any Markdown like it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from plait.sandbox.extract_markdown import unescape
from plait.sandbox.extract_models import Table

_HEADING: Final = re.compile(r"^(#{1,6})\s+(.+?)\s*#*$")
_PAGE: Final = re.compile(r"^\*Page (\d+)\*$")
_AUTHOR: Final = re.compile(r"^\*Author: .*\*$")
_CELLS: Final = re.compile(r"(?<!\\)\|")
_RULE: Final = re.compile(r"^\|?[\s:|-]*-[\s:|-]*$")
_BULLET: Final = re.compile(r"^[-*+]\s+")
_OPENING: Final = re.compile(r'^<<<document name="(?P<name>[^"\n]*)">>>[ \t\r]*$', re.MULTILINE)
_CLOSING: Final = re.compile(r"^<<<end>>>[ \t\r]*$", re.MULTILINE)
_CHAPTER_LEVEL: Final = 2


@dataclass(frozen=True, slots=True)
class SourceText:
    """A document to answer from."""

    name: str
    markdown: str
    id: str | None = None
    """None for a document that came inside the message."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A paragraph, a list item or a table row, and where it stands."""

    source: SourceText
    chapter: str
    section: str
    page: int | None
    text: str
    table: Table | None = None
    row: int | None = None
    """Index into `table.rows`."""


def split_message(message: str) -> tuple[str, list[SourceText]]:
    """The question and the documents that the message carries inline.

    A document begins with the line `<<<document name="lease.pdf">>>` and ends with `<<<end>>>`, the
    next opening line, or the end of the message. What stands outside is the question.
    """
    question: list[str] = []
    documents: list[SourceText] = []
    position = 0
    while opening := _OPENING.search(message, position):
        question.append(message[position : opening.start()])
        closing = _CLOSING.search(message, opening.end())
        following = _OPENING.search(message, opening.end())
        end = min(mark.start() for mark in (closing, following) if mark) if closing or following else None
        name = opening["name"].strip() or f"document {len(documents) + 1}"
        documents.append(SourceText(name=name, markdown=message[opening.end() : end].strip()))
        if end is None:
            position = len(message)
        else:
            position = closing.end() if closing and closing.start() == end else end
    question.append(message[position:])
    return "\n".join(part.strip() for part in question if part.strip()), documents


def passages(source: SourceText) -> list[Passage]:
    """Everything in the document that can answer something, in reading order."""
    reader = _Reader(source)
    for line in source.markdown.splitlines():
        reader.line(line.strip())
    reader.close()
    return reader.found


class _Reader:
    """Follows headings and page markers from line to line."""

    def __init__(self, source: SourceText) -> None:
        self.found: list[Passage] = []
        self._source = source
        self._chapter = ""
        self._section = ""
        self._page: int | None = None
        self._paragraph: list[str] = []
        self._table: list[list[str]] = []

    def line(self, line: str) -> None:
        """Take one stripped line."""
        if line.startswith("|"):
            self._close_paragraph()
            if not _RULE.match(line):
                self._table.append(_cells(line))
            return
        self._close_table()
        heading, page = _HEADING.match(line), _PAGE.match(line)
        if heading or page or not line or _AUTHOR.match(line) or _BULLET.match(line):
            self._close_paragraph()
        if heading:
            self._heading(len(heading.group(1)), unescape(heading.group(2)))
        elif page:
            self._page = int(page.group(1))
        elif line and not _AUTHOR.match(line):
            self._paragraph.append(_BULLET.sub("", line))

    def close(self) -> None:
        """The document has ended."""
        self._close_paragraph()
        self._close_table()

    def _heading(self, level: int, title: str) -> None:
        if level <= _CHAPTER_LEVEL:
            self._chapter, self._section = (title if level == _CHAPTER_LEVEL else ""), ""
        else:
            self._section = title

    def _close_paragraph(self) -> None:
        if self._paragraph:
            self._add(unescape(" ".join(self._paragraph)))
            self._paragraph = []

    def _close_table(self) -> None:
        if not self._table:
            return
        width = max(len(row) for row in self._table)
        head, *rows = [tuple(row + [""] * (width - len(row))) for row in self._table]
        table = Table(head, tuple(rows))
        for number, row in enumerate(table.rows):
            self._add(row_text(table, row), table, number)
        self._table = []

    def _add(self, text: str, table: Table | None = None, row: int | None = None) -> None:
        section = self._section or self._chapter
        self.found.append(Passage(self._source, self._chapter, section, self._page, text, table, row))


def row_text(table: Table, row: tuple[str, ...]) -> str:
    """A table row as words: `Year 3; Annual rent: €197,328`. The first cell is the row's name."""
    named = (f"{column}: {cell}" for column, cell in zip(table.columns[1:], row[1:], strict=True) if cell)
    return "; ".join([row[0], *named] if row[0] else named)


def sentences(text: str) -> Iterator[str]:
    """Sentences of a paragraph; a full stop inside a number or after an initial ends none."""
    start = 0
    for stop in re.finditer(r"(?<!\b[A-Z])(?<!\b(?:Mr|Ms|Dr|No))[.!?](?=\s+[\"'(]?[A-Z0-9€$£])", text):
        yield text[start : stop.end()].strip()
        start = stop.end()
    if text[start:].strip():
        yield text[start:].strip()


def _cells(line: str) -> list[str]:
    inner = line.removeprefix("|")
    inner = inner[:-1] if inner.endswith("|") and not inner.endswith("\\|") else inner
    return [unescape(cell.strip()) for cell in _CELLS.split(inner)]
