"""The documents of the OfficePlane stand-in as they are stored, and the view that others have of them."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from plait.sandbox.extract import Block, Chapter, Extracted, Page, Section
from plait.sandbox.store import Entity, Store, Transaction


class StoredPage(BaseModel):
    """A page of a section. `blocks` are paragraphs and tables in reading order."""

    model_config = ConfigDict(extra="forbid")

    id: str
    number: int
    blocks: tuple[Block, ...] = ()


class StoredSection(BaseModel):
    """A section and its pages; its place in the list is its `order_index`."""

    model_config = ConfigDict(extra="forbid")

    id: str
    title: str
    pages: list[StoredPage] = Field(default_factory=list)


class StoredChapter(BaseModel):
    """A chapter and its sections; its place in the list is its `order_index`."""

    model_config = ConfigDict(extra="forbid")

    id: str
    title: str
    sections: list[StoredSection] = Field(default_factory=list)


class StoredDocument(Entity):
    """The row that lists show. Small: lists read many of them."""

    kind: ClassVar[str] = "officeplane.document"

    title: str
    author: str | None
    source_format: str
    filename: str | None = None
    """Name of the stored original; None while the ingest runs, and for ever where it went wrong."""
    upload_name: str
    """The name the file was sent under."""
    sha256: str
    complete: bool = False
    """Whether the ingest came to its end."""
    total_chapters: int = 0
    total_sections: int = 0


class StoredContent(Entity):
    """The chapters of the document with the same id."""

    kind: ClassVar[str] = "officeplane.content"

    chapters: list[StoredChapter] = Field(default_factory=list)

    @property
    def sections(self) -> list[StoredSection]:
        """All sections in reading order."""
        return [section for chapter in self.chapters for section in chapter.sections]

    @property
    def pages(self) -> list[StoredPage]:
        """All pages in reading order."""
        return [page for section in self.sections for page in section.pages]


def stored_chapters(chapters: Sequence[Chapter]) -> list[StoredChapter]:
    """Extracted chapters with fresh ids."""
    return [
        StoredChapter(
            id=new_id(),
            title=chapter.title,
            sections=[
                StoredSection(
                    id=new_id(),
                    title=section.title,
                    pages=[
                        StoredPage(id=new_id(), number=page.number, blocks=page.blocks)
                        for page in section.pages
                    ],
                )
                for section in chapter.sections
            ],
        )
        for chapter in chapters
    ]


def extracted(document: StoredDocument, content: StoredContent) -> Extracted:
    """The document as it reads now, edits included."""
    return Extracted(
        title=document.title,
        author=document.author,
        source_format=document.source_format,
        chapters=tuple(
            Chapter(
                title=chapter.title,
                sections=tuple(
                    Section(
                        title=section.title,
                        pages=tuple(Page(number=page.number, blocks=page.blocks) for page in section.pages),
                    )
                    for section in chapter.sections
                ),
            )
            for chapter in content.chapters
        ),
    )


def new_id() -> str:
    """A UUIDv4, as the vendor's database makes them."""
    return str(uuid.uuid4())


@dataclass(frozen=True, slots=True)
class LibraryDocument:
    """What another stand-in sees of a document."""

    id: str
    """OfficePlane's id."""
    name: str
    """The name the file was uploaded under."""
    title: str
    created_at: datetime
    complete: bool


class DocumentLibrary:
    """Read access to OfficePlane's documents for the stand-ins that sync them."""

    def __init__(self, store: Store, files: Path) -> None:
        self._store = store
        self.files = files

    def original(self, document_id: str) -> Path:
        """Where the uploaded bytes of a complete document lie."""
        return self.files / document_id

    async def documents(self) -> list[LibraryDocument]:
        """Every document a list would show, oldest first."""
        return [
            LibraryDocument(
                id=document.id,
                name=document.upload_name,
                title=document.title,
                created_at=document.created_at,
                complete=document.complete,
            )
            for document in await self._store.list(StoredDocument)
        ]

    async def read(self, document_id: str) -> Extracted | None:
        """A document's structure and text as they are now; None when it is gone."""
        found = await self.load(document_id)
        return None if found is None else extracted(*found)

    async def load(self, document_id: str) -> tuple[StoredDocument, StoredContent] | None:
        """Both rows of a document in one look."""

        def work(transaction: Transaction) -> tuple[StoredDocument, StoredContent] | None:
            document = transaction.get(StoredDocument, document_id)
            content = transaction.get(StoredContent, document_id)
            return None if document is None or content is None else (document, content)

        return await self._store.transact(work)
