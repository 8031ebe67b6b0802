"""Upload of the OfficePlane stand-in: one request from the first byte to the finished document.

Like the vendor's, it is not one transaction: the document is listed with growing chapters while
the ingest runs, the original is stored last, and some errors are answered although the document
was created (officeplane.md §3.1).
"""

import asyncio
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from starlette.exceptions import HTTPException

from plait.sandbox.context import SandboxContext
from plait.sandbox.extract import Extracted, UnreadableDocument, detect_format, extract
from plait.sandbox.officeplane_documents import (
    StoredContent,
    StoredDocument,
    new_id,
    stored_chapters,
)
from plait.sandbox.store import Transaction
from plait.vendors.officeplane.operations import UPLOAD_DOCUMENT

SUPPORTED: Final = ("doc", "docx", "pdf", "ppt", "pptx", "xls", "xlsx", "png", "jpeg", "tiff")
IMAGES: Final = frozenset({"png", "jpeg", "tiff"})
_LEGACY: Final = frozenset({"doc", "ppt"})
_ODD_ZIPS: Final = frozenset({"docx", "pptx", "xlsx"})
_CHUNK: Final = 1024 * 1024
_SMALLEST: Final = 8
_STEPS: Final = 4
"""In how many steps the chapters of a running ingest appear at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """An upload as it came."""

    file: BinaryIO
    filename: str
    title: str | None
    author: str | None
    collection_id: str | None


@dataclass(frozen=True, slots=True)
class _Kept:
    path: Path
    sha256: str
    size: int


async def ingest(context: SandboxContext, received: Received) -> tuple[StoredDocument, StoredContent]:
    """Make a document of the upload.

    Raises:
        HTTPException: with the vendor's status and words; the document may exist all the same.
    """
    document_id = new_id()
    kept = await asyncio.to_thread(_keep, received.file, context.library.files / f"{document_id}.part")
    try:
        source = await asyncio.to_thread(_read, kept, received.filename)
        if received.collection_id and not context.settings.officeplane.collection_fault:
            raise HTTPException(404, "Collection not found")
        return await _create(context, received, kept, document_id, source)
    finally:
        await asyncio.to_thread(kept.path.unlink, missing_ok=True)


def _keep(file: BinaryIO, path: Path) -> _Kept:
    digest, size = hashlib.sha256(), 0
    file.seek(0)
    with path.open("wb") as target:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += target.write(chunk)
    return _Kept(path, digest.hexdigest(), size)


def _read(kept: _Kept, filename: str) -> Extracted:
    """The document's structure; a thread's work.

    Whatever a hostile file makes the readers raise is an answer, as it is at the vendor: nothing
    has been created yet.
    """
    try:
        _check_kind(_detected(kept, filename))
        return extract(kept.path, filename)
    except HTTPException:
        raise
    except UnreadableDocument as error:
        raise HTTPException(500, f"Error ingesting document: {error.reason}") from error
    except Exception as error:
        raise HTTPException(500, f"Error importing document: {type(error).__name__}: {error}") from error


def _check_kind(kind: str | None) -> None:
    if kind is None:
        names = ", ".join(f".{name}" for name in SUPPORTED)
        raise HTTPException(400, f"Only {names} files are supported (detected: unknown)")
    if kind in _LEGACY:
        raise HTTPException(500, "No driver available for legacy format conversion")


def _detected(kept: _Kept, filename: str) -> str | None:
    """The vendor's rule: magic bytes, and the extension for OLE files and odd zips."""
    if kept.size < _SMALLEST:
        return None
    extension = Path(filename).suffix.lower().removeprefix(".")
    kind = detect_format(kept.path)
    if kind == "ole":
        return extension if extension in SUPPORTED else None
    if kind is None and _is_zip(kept.path) and extension in _ODD_ZIPS:
        return extension
    return kind


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


async def _create(
    context: SandboxContext, received: Received, kept: _Kept, document_id: str, source: Extracted
) -> tuple[StoredDocument, StoredContent]:
    document = StoredDocument(
        id=document_id,
        created_at=context.now(),
        title=source.title,
        author=source.author,
        source_format=source.source_format,
        upload_name=received.filename,
        sha256=kept.sha256,
    )
    content = StoredContent(id=document_id, created_at=document.created_at)

    def accept(transaction: Transaction) -> None:
        transaction.put(document)
        transaction.put(content)
        transaction.record(UPLOAD_DOCUMENT, entity_id=document_id, marker=kept.sha256)

    await context.store.transact(accept)
    document, content = await _grow(context, document, content, source)
    if received.title is not None or received.author is not None:
        document = await _rename(context, document, content, received)
    await asyncio.to_thread(kept.path.replace, context.library.original(document_id))
    document = document.model_copy(update={"filename": received.filename, "complete": True})
    await _save(context, document, content)
    if received.collection_id:
        raise HTTPException(404, "Collection not found")
    return document, content


async def _grow(
    context: SandboxContext, document: StoredDocument, content: StoredContent, source: Extracted
) -> tuple[StoredDocument, StoredContent]:
    chapters = stored_chapters(source.chapters)
    seconds = context.settings.officeplane.ingest_seconds
    steps = max(1, min(_STEPS, len(chapters))) if seconds else 1
    for step in range(1, steps + 1):
        if seconds:
            await context.clock.sleep(seconds / steps)
        content = content.model_copy(update={"chapters": chapters[: len(chapters) * step // steps]})
        document = document.model_copy(
            update={
                "total_chapters": len(content.chapters),
                "total_sections": len(content.sections),
            }
        )
        await _save(context, document, content)
    return document, content


async def _rename(
    context: SandboxContext, document: StoredDocument, content: StoredContent, received: Received
) -> StoredDocument:
    """Title and author as asked for; with the vendor's fault the original is never stored."""
    names = {"title": received.title, "author": received.author}
    renamed = document.model_copy(update={name: value for name, value in names.items() if value is not None})
    if context.settings.officeplane.title_author_fault:
        await _save(context, renamed.model_copy(update={"complete": True}), content)
        raise HTTPException(500, "Error importing document: 1 validation error for DocumentModel metadata")
    return renamed


async def _save(context: SandboxContext, document: StoredDocument, content: StoredContent) -> None:
    def work(transaction: Transaction) -> None:
        if transaction.get(StoredDocument, document.id) is None:
            raise HTTPException(500, "Error importing document: the document was deleted meanwhile")
        transaction.put(document)
        transaction.put(content)

    await context.store.transact(work)
