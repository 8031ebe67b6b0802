"""What comes out of reading an office document, whatever its format."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from plait.http.errors import InvalidInput


class UnreadableDocument(InvalidInput):
    """A file that is corrupt, encrypted, or not of a format that can be read."""

    @property
    def reason(self) -> str:
        """What is wrong with the file, as one sentence."""
        return self.message


class DocumentTooLarge(UnreadableDocument):
    """A file that would unpack to more than `Limits` allow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of one document is read before it is refused."""

    pages: int = 2_000
    """Pages, slides or sheets."""
    cells: int = 500_000
    """Cells of all tables together."""
    characters: int = 20_000_000
    """Characters of text, cells included."""
    unpacked_bytes: int = 256 * 1024 * 1024
    """Bytes that the parts of a zipped format (docx, pptx, xlsx) may unpack to."""


@dataclass(frozen=True, slots=True)
class Paragraph:
    """One paragraph; `bullet` marks an item of a list."""

    text: str
    bullet: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table as people see it: every cell is text, every row as long as `columns`."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Block: TypeAlias = Paragraph | Table


@dataclass(frozen=True, slots=True)
class Page:
    """The part of one page that belongs to one section, in reading order."""

    number: int
    """Page of a PDF or DOCX, slide of a PPTX, sheet of an XLSX; from 1."""
    blocks: tuple[Block, ...]

    @property
    def paragraphs(self) -> tuple[str, ...]:
        """The texts of the paragraphs, without the tables."""
        return tuple(block.text for block in self.blocks if isinstance(block, Paragraph))

    @property
    def tables(self) -> tuple[Table, ...]:
        """The tables alone."""
        return tuple(block for block in self.blocks if isinstance(block, Table))


@dataclass(frozen=True, slots=True)
class Section:
    """Text under one heading of the second level."""

    title: str
    pages: tuple[Page, ...]


@dataclass(frozen=True, slots=True)
class Chapter:
    """Text under one heading of the first level."""

    title: str
    sections: tuple[Section, ...]


@dataclass(frozen=True, slots=True)
class Extracted:
    """A document's structure and text."""

    title: str
    author: str | None
    source_format: str
    """One of pdf, docx, pptx, xlsx, png, jpeg, tiff."""
    chapters: tuple[Chapter, ...]

    @property
    def pages(self) -> tuple[Page, ...]:
        """All page parts in reading order; one page may appear once per section it touches."""
        return tuple(
            page for chapter in self.chapters for section in chapter.sections for page in section.pages
        )

    @property
    def tables(self) -> tuple[Table, ...]:
        """All tables in reading order."""
        return tuple(table for page in self.pages for table in page.tables)


def table_of(grid: list[list[str]]) -> Table | None:
    """The first row as header, short rows padded, empty rows dropped; None when nothing is left."""
    rows = [[" ".join(cell.split()) for cell in row] for row in grid]
    rows = [row for row in rows if any(row)]
    if not rows:
        return None
    width = max(len(row) for row in rows)
    head, *body = [tuple(row + [""] * (width - len(row))) for row in rows]
    return Table(columns=head, rows=tuple(body))


def title_from(filename: str) -> str:
    """A readable title from a file name: `q3_board-update.pptx` gives `q3 board update`."""
    stem = Path(filename).stem
    return " ".join(stem.replace("_", " ").replace("-", " ").split()) or "Untitled"
