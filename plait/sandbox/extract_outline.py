"""Builds chapters, sections and page parts from a stream of headings and blocks."""

from dataclasses import dataclass, field

from plait.sandbox.extract_models import (
    Block,
    Chapter,
    DocumentTooLarge,
    Limits,
    Page,
    Paragraph,
    Section,
    Table,
)

CHAPTER_LEVEL = 1
SECTION_LEVEL = 2


@dataclass(slots=True)
class _OpenPage:
    number: int
    blocks: list[Block] = field(default_factory=list)


@dataclass(slots=True)
class _OpenSection:
    title: str
    pages: list[_OpenPage] = field(default_factory=list)


@dataclass(slots=True)
class _OpenChapter:
    title: str
    sections: list[_OpenSection] = field(default_factory=list)


class Outline:
    """Collects a document in reading order and counts it against `Limits`.

    Text before the first heading goes to a chapter named like the document; text directly under a
    chapter heading goes to a section named like the chapter.
    """

    def __init__(self, title: str, limits: Limits) -> None:
        self._title = title
        self._limits = limits
        self._chapters: list[_OpenChapter] = []
        self._pages: set[int] = set()
        self._cells = 0
        self._characters = 0
        self.page_number = 1

    def turn_to(self, number: int) -> None:
        """What follows stands on page `number`."""
        self.page_number = number
        self._pages.add(number)
        if len(self._pages) > self._limits.pages:
            raise DocumentTooLarge(f"The document has more than {self._limits.pages} pages; split it.")

    def heading(self, level: int, text: str) -> None:
        """A heading; below the second level it is a paragraph of its section."""
        text = " ".join(text.split())
        if not text:
            return
        if level > SECTION_LEVEL:
            self.add(Paragraph(text))
            return
        self._count(len(text))
        if level <= CHAPTER_LEVEL:
            self._chapters.append(_OpenChapter(text))
        else:
            self._chapter().sections.append(_OpenSection(text))
        self._page()

    def add(self, block: Block) -> None:
        """A paragraph or table under the last heading; empty paragraphs are dropped."""
        if isinstance(block, Paragraph):
            if not block.text.strip():
                return
            self._count(len(block.text))
        else:
            self._count_table(block)
        self._page().blocks.append(block)

    def last_block(self) -> Block | None:
        """The block added last under the current heading, if any."""
        if not self._chapters or not self._chapters[-1].sections:
            return None
        pages = self._chapters[-1].sections[-1].pages
        return next((page.blocks[-1] for page in reversed(pages) if page.blocks), None)

    def build(self) -> tuple[Chapter, ...]:
        """The finished outline; a document without any text still has one empty page."""
        self._page()
        return tuple(
            Chapter(
                chapter.title,
                tuple(
                    Section(
                        section.title,
                        tuple(Page(page.number, tuple(page.blocks)) for page in section.pages),
                    )
                    for section in chapter.sections
                    if any(page.blocks for page in section.pages) or len(chapter.sections) == 1
                ),
            )
            for chapter in self._chapters
        )

    def _chapter(self) -> _OpenChapter:
        if not self._chapters:
            self._chapters.append(_OpenChapter(self._title))
        return self._chapters[-1]

    def _page(self) -> _OpenPage:
        chapter = self._chapter()
        if not chapter.sections:
            chapter.sections.append(_OpenSection(chapter.title))
        pages = chapter.sections[-1].pages
        if not pages or pages[-1].number != self.page_number:
            pages.append(_OpenPage(self.page_number))
        return pages[-1]

    def _count(self, characters: int) -> None:
        self._characters += characters
        if self._characters > self._limits.characters:
            raise DocumentTooLarge(
                f"The document holds more than {self._limits.characters} characters; split it."
            )

    def _count_table(self, table: Table) -> None:
        grid = (table.columns, *table.rows)
        self._cells += sum(len(row) for row in grid)
        if self._cells > self._limits.cells:
            raise DocumentTooLarge(f"The tables hold more than {self._limits.cells} cells; split the file.")
        self._count(sum(len(cell) for row in grid for cell in row))
