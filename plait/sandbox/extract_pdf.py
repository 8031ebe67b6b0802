"""PDF files: headings by type size, weight and numbering; ruled tables; running heads dropped."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

import pdfplumber
from pdfminer.pdfdocument import PDFPasswordIncorrect
from pdfminer.pdfexceptions import PDFException
from pdfminer.psexceptions import PSException
from pdfplumber.utils.exceptions import PdfminerException

from plait.sandbox.extract_models import (
    DocumentTooLarge,
    Extracted,
    Limits,
    Paragraph,
    Table,
    UnreadableDocument,
    table_of,
    title_from,
)
from plait.sandbox.extract_outline import CHAPTER_LEVEL, SECTION_LEVEL, Outline

_UNREADABLE: Final = (
    PdfminerException,
    PDFException,
    PSException,
    KeyError,
    ValueError,
    TypeError,
    OSError,
    RecursionError,
)
_BOLD: Final = re.compile(r"bold|black|heavy|semib", re.IGNORECASE)
_CHAPTER: Final = re.compile(
    r"^(?:(?:article|chapter|part|section|schedule|annex|appendix)\b|\d{1,2}\.?\s+\S)", re.IGNORECASE
)
_SECTION: Final = re.compile(r"^\d{1,2}\.\d{1,2}\.?\s+\S")
# Some programs write bullets with a code that has no Unicode name; it then reads as (cid:127).
_BULLET: Final = re.compile(r"^(?:[•▪‣◦●–-]|\(cid:\d+\))\s+")  # noqa: RUF001 - an en dash is a usual bullet
_ITEM: Final = re.compile(r"^(?:\(?(?:[a-z]|[ivx]{1,4}|\d{1,2})[.)]|\d{1,2}(?:\.\d{1,2})+\.?)\s")
_DIGITS: Final = re.compile(r"\d+")
_HEADING_LENGTH: Final = 120
_LARGER: Final = 1.12
_MARGIN: Final = 0.1
_REPEATS: Final = 3
_PARAGRAPH_GAP: Final = 0.75
_SMALLEST_TABLE: Final = 2


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    size: float
    bold: bool
    left: float
    top: float
    bottom: float
    page: int
    page_height: float

    @property
    def in_margin(self) -> bool:
        return self.top < self.page_height * _MARGIN or self.bottom > self.page_height * (1 - _MARGIN)


@dataclass(frozen=True, slots=True)
class _Grid:
    rows: list[list[str]]
    top: float
    page: int


_Item: TypeAlias = _Line | _Grid


def read_pdf(path: Path, filename: str, limits: Limits) -> Extracted:
    """Read the text layer; a scanned page without one gives an empty page."""
    try:
        with pdfplumber.open(path) as pdf:
            _check_pages(len(pdf.pages), filename, limits)
            items = [item for page in pdf.pages for item in _page_items(page)]
            page_count = len(pdf.pages)
            metadata = dict(pdf.metadata)
    except DocumentTooLarge:
        raise
    except _UNREADABLE as error:
        raise UnreadableDocument(_reason(error, filename)) from error
    return _structured(items, page_count, metadata, filename, limits)


def _check_pages(count: int, filename: str, limits: Limits) -> None:
    if count > limits.pages:
        raise DocumentTooLarge(f"{filename!r} has {count} pages, over {limits.pages}; split it.")


def _reason(error: BaseException, filename: str) -> str:
    causes = (error, error.__cause__, error.__context__, *error.args)
    if any(isinstance(cause, PDFPasswordIncorrect) for cause in causes):
        return f"{filename!r} is protected with a password; remove the protection and retry."
    return f"{filename!r} is not a readable PDF: {str(error) or type(error).__name__}"


def _page_items(page: Any) -> list[_Item]:
    """Lines and tables of one page from top to bottom; the page's memory is given back."""
    grids: list[_Grid] = []
    boxes: list[tuple[float, float, float, float]] = []
    for found in page.find_tables():
        rows = [[cell or "" for cell in row] for row in found.extract()]
        if len(rows) >= _SMALLEST_TABLE and len(rows[0]) >= _SMALLEST_TABLE:
            grids.append(_Grid(rows, found.bbox[1], page.page_number))
            boxes.append(found.bbox)
    lines = list(_lines(page, boxes))
    page.close()
    items: list[_Item] = [*lines, *grids]
    return sorted(items, key=lambda item: item.top)


def _lines(page: Any, boxes: Sequence[tuple[float, float, float, float]]) -> Iterator[_Line]:
    def outside(item: dict[str, Any]) -> bool:
        if item["object_type"] != "char":
            return True
        x, y = (item["x0"] + item["x1"]) / 2, (item["top"] + item["bottom"]) / 2
        return not any(x0 <= x <= x1 and top <= y <= bottom for x0, top, x1, bottom in boxes)

    height = float(page.height)
    for line in page.filter(outside).extract_text_lines(strip=True, return_chars=True):
        printed = [char for char in line["chars"] if char["text"].strip()]
        if not printed:
            continue
        size = Counter(round(char["size"] * 2) / 2 for char in printed).most_common(1)[0][0]
        bold = all(_BOLD.search(char["fontname"]) for char in printed)
        text = " ".join(line["text"].split())
        yield _Line(text, size, bold, line["x0"], line["top"], line["bottom"], page.page_number, height)


def _structured(
    items: list[_Item], page_count: int, metadata: dict[str, Any], filename: str, limits: Limits
) -> Extracted:
    lines = [item for item in items if isinstance(item, _Line)]
    running = _running_heads(lines, page_count)
    body = _body_size(lines)
    title_lines = _title_lines(lines, body)
    title = (
        _text(metadata.get("Title")) or " ".join(line.text for line in title_lines) or title_from(filename)
    )
    kept = [item for item in items if item not in title_lines and not _is_running(item, running)]
    outline = Outline(title, limits)
    _Assembler(outline, body, _heading_sizes(kept, body)).read(kept, page_count)
    return Extracted(
        title=title,
        author=_text(metadata.get("Author")) or None,
        source_format="pdf",
        chapters=outline.build(),
    )


def _text(value: Any) -> str:
    words = " ".join(value.split()) if isinstance(value, str) else ""
    return "" if words.lower() in {"untitled", "anonymous", "(anonymous)", "(unspecified)"} else words


def _running_heads(lines: Iterable[_Line], page_count: int) -> set[str]:
    """Margin lines that repeat on most pages, page numbers aside."""
    pages: dict[str, set[int]] = {}
    for line in lines:
        if line.in_margin:
            pages.setdefault(_DIGITS.sub("#", line.text), set()).add(line.page)
    needed = max(_REPEATS, page_count // 2)
    return {text for text, numbers in pages.items() if len(numbers) >= needed}


def _is_running(item: _Item, running: set[str]) -> bool:
    return isinstance(item, _Line) and item.in_margin and _DIGITS.sub("#", item.text) in running


def _body_size(lines: Iterable[_Line]) -> float:
    sizes: Counter[float] = Counter()
    for line in lines:
        sizes[line.size] += len(line.text)
    return sizes.most_common(1)[0][0] if sizes else 0.0


def _title_lines(lines: Sequence[_Line], body: float) -> list[_Line]:
    """The first run of the largest type, if it stands on page 1 alone and is larger than the rest."""
    largest = max((line.size for line in lines), default=0.0)
    if not lines or largest < body * _LARGER or any(line.size == largest and line.page > 1 for line in lines):
        return []
    first = next(index for index, line in enumerate(lines) if line.size == largest)
    run = []
    for line in lines[first:]:
        if line.size != largest:
            break
        run.append(line)
    return run


def _heading_sizes(items: Iterable[_Item], body: float) -> list[float]:
    """Sizes used by headings, largest first; the place in the list is the level."""
    lines = [item for item in items if isinstance(item, _Line) and _looks_like_heading(item, body)]
    return sorted({line.size for line in lines}, reverse=True)


def _looks_like_heading(line: _Line, body: float) -> bool:
    if len(line.text) > _HEADING_LENGTH or not any(char.isalpha() for char in line.text):
        return False
    if line.text.endswith((".", ",", ";", ":")):
        return False
    return line.size >= body * _LARGER or (line.bold and line.size >= body)


class _Assembler:
    """Joins lines to paragraphs and hands everything to the outline."""

    def __init__(self, outline: Outline, body: float, heading_sizes: list[float]) -> None:
        self._outline = outline
        self._body = body
        self._heading_sizes = heading_sizes
        self._open: _Line | None = None
        self._first_on_page = True

    def read(self, items: Sequence[_Item], page_count: int) -> None:
        """Walk all pages; an empty page is turned to as well."""
        by_page: dict[int, list[_Item]] = {}
        for item in items:
            by_page.setdefault(item.page, []).append(item)
        for number in range(1, page_count + 1):
            self._outline.turn_to(number)
            self._first_on_page = True
            for item in by_page.get(number, []):
                self._item(item)
            self._close()

    def _item(self, item: _Item) -> None:
        if isinstance(item, _Grid):
            self._close()
            self._table(item)
        elif _looks_like_heading(item, self._body):
            self._close()
            self._outline.heading(self._level(item), item.text)
        else:
            self._line(item)
        self._first_on_page = False

    def _level(self, line: _Line) -> int:
        if _SECTION.match(line.text):
            return SECTION_LEVEL
        if _CHAPTER.match(line.text):
            return CHAPTER_LEVEL
        return self._heading_sizes.index(line.size) + CHAPTER_LEVEL

    def _line(self, line: _Line) -> None:
        if self._open is None or not _continues(self._open, line):
            self._close()
            self._open = line
            return
        # A hyphen at the end of a line stays: programs rarely hyphenate, people write "long-term".
        joint = "" if self._open.text.endswith("-") else " "
        self._open = replace(self._open, text=f"{self._open.text}{joint}{line.text}", bottom=line.bottom)

    def _close(self) -> None:
        if self._open is not None:
            text = _BULLET.sub("", self._open.text)
            self._outline.add(Paragraph(text, bullet=text != self._open.text))
            self._open = None

    def _table(self, grid: _Grid) -> None:
        table = table_of(grid.rows)
        if table is None:
            return
        previous = self._outline.last_block()
        if (
            self._first_on_page
            and isinstance(previous, Table)
            and len(previous.columns) == len(table.columns)
        ):
            repeated = table.columns == previous.columns
            rows = table.rows if repeated else (table.columns, *table.rows)
            table = Table(columns=previous.columns, rows=rows)
        self._outline.add(table)


def _continues(before: _Line, line: _Line) -> bool:
    if _BULLET.match(line.text) or _ITEM.match(line.text) or line.size != before.size:
        return False
    if _BULLET.match(before.text) and line.left <= before.left:
        return False
    height = line.bottom - line.top
    return line.top - before.bottom < height * _PARAGRAPH_GAP
