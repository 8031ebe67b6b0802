"""Files that the OfficePlane stand-in hands out: originals as they came, DOCX and Markdown made anew."""

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from docx import Document
from docx.document import Document as DocxDocument
from starlette.responses import Response, StreamingResponse

from plait.sandbox.extract import Extracted, Paragraph, Table, to_markdown

_CHUNK: Final = 256 * 1024
_OCTETS: Final = "application/octet-stream"
_DOCX: Final = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
_MEDIA: Final = {".docx": _DOCX, ".pdf": "application/pdf", ".doc": "application/msword"}


class UnwritableHeader(ValueError):
    """A file name that HTTP headers cannot carry: the vendor crashes here (officeplane.md §3.5)."""


async def original(path: Path, filename: str) -> Response:
    """The uploaded bytes, streamed; only docx, pdf and doc get their own media type."""
    size = (await asyncio.to_thread(path.stat)).st_size
    headers = {**_disposition(filename), "content-length": str(size)}
    media_type = _MEDIA.get(Path(filename).suffix.lower(), _OCTETS)
    return StreamingResponse(_chunks(path), headers=headers, media_type=media_type)


async def as_docx(document: Extracted) -> Response:
    """The document's current text as a generated DOCX."""
    headers = _disposition(f"{_underscored(document.title)}.docx")
    return Response(await asyncio.to_thread(_docx, document), headers=headers, media_type=_DOCX)


async def as_markdown(document: Extracted) -> Response:
    """The document's current text as Markdown."""
    headers = _disposition(f"{_underscored(document.title)}.md")
    return Response(
        await asyncio.to_thread(to_markdown, document), headers=headers, media_type="text/markdown"
    )


def _underscored(title: str) -> str:
    return title.replace(" ", "_")


def _disposition(filename: str) -> dict[str, str]:
    """As the vendor writes it: raw Latin-1, quotes not escaped, no RFC 5987 form."""
    header = f'attachment; filename="{filename}"'
    try:
        header.encode("latin-1")
    except UnicodeEncodeError as error:
        raise UnwritableHeader(f"{filename!r} is outside Latin-1") from error
    return {"content-disposition": header}


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(path.open, "rb") as file:
        while chunk := await asyncio.to_thread(file.read, _CHUNK):
            yield chunk


def _docx(document: Extracted) -> bytes:
    made = Document()
    made.core_properties.title = document.title
    made.core_properties.author = document.author or ""
    made.add_heading(document.title, level=0)
    for chapter in document.chapters:
        made.add_heading(chapter.title, level=1)
        for section in chapter.sections:
            made.add_heading(section.title, level=2)
            for page in section.pages:
                for block in page.blocks:
                    _add(made, block)
    buffer = io.BytesIO()
    made.save(buffer)
    return buffer.getvalue()


def _add(made: DocxDocument, block: Paragraph | Table) -> None:
    if isinstance(block, Paragraph):
        made.add_paragraph(block.text, style="List Bullet" if block.bullet else None)
        return
    table = made.add_table(rows=0, cols=len(block.columns))
    for row in (block.columns, *block.rows):
        for cell, text in zip(table.add_row().cells, row, strict=True):
            cell.text = text
