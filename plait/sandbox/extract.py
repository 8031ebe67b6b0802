"""Reads the structure, text and tables of real office documents.

`extract` is the one entrance; the readers of the single formats are `extract_pdf`, `extract_docx`,
`extract_pptx` and `extract_xlsx`. Formats are told by content, never by the file's name
(officeplane.md §3.1).
"""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from PIL import Image

from plait.sandbox.extract_docx import read_docx
from plait.sandbox.extract_markdown import page_markdown, table_markdown, to_markdown
from plait.sandbox.extract_models import (
    Block,
    Chapter,
    DocumentTooLarge,
    Extracted,
    Limits,
    Page,
    Paragraph,
    Section,
    Table,
    UnreadableDocument,
    title_from,
)
from plait.sandbox.extract_outline import Outline
from plait.sandbox.extract_pdf import read_pdf
from plait.sandbox.extract_pptx import read_pptx
from plait.sandbox.extract_xlsx import read_xlsx

__all__ = [
    "Block",
    "Chapter",
    "DocumentTooLarge",
    "Extracted",
    "Limits",
    "Page",
    "Paragraph",
    "Section",
    "Table",
    "UnreadableDocument",
    "detect_format",
    "extract",
    "page_markdown",
    "table_markdown",
    "title_from",
    "to_markdown",
]

_HEAD_BYTES: Final = 1024
_OLE_MAGIC: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED_PACKAGE: Final = "EncryptedPackage".encode("utf-16-le")
_IMAGE_MAGIC: Final = {
    b"\x89PNG\r\n\x1a\n": "png",
    b"\xff\xd8\xff": "jpeg",
    b"II*\x00": "tiff",
    b"MM\x00*": "tiff",
}
_ZIP_FOLDERS: Final = {"word/": "docx", "ppt/": "pptx", "xl/": "xlsx"}

_Reader = Callable[[Path, str, Limits], Extracted]
_READERS: Final[dict[str, _Reader]] = {
    "pdf": read_pdf,
    "docx": read_docx,
    "pptx": read_pptx,
    "xlsx": read_xlsx,
}


def detect_format(path: Path) -> str | None:
    """The format by magic bytes: pdf, docx, pptx, xlsx, png, jpeg, tiff, ole (legacy), or None."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if b"%PDF-" in head:
        return "pdf"
    for magic, name in _IMAGE_MAGIC.items():
        if head.startswith(magic):
            return name
    if head.startswith(_OLE_MAGIC):
        return "ole"
    return _zip_format(path) if head.startswith(b"PK\x03\x04") else None


def extract(path: Path, filename: str, limits: Limits | None = None) -> Extracted:
    """Read the document at `path`; `filename` serves as title where the document has none.

    Blocking and busy: call it in a thread. Raises `UnreadableDocument` for what is corrupt,
    encrypted or of another format, `DocumentTooLarge` for what exceeds `limits`.
    """
    limits = limits or Limits()
    kind = detect_format(path)
    if kind is not None and kind in _READERS:
        _check_unpacked(path, kind, limits)
        return _READERS[kind](path, filename, limits)
    if kind is not None and kind in _IMAGE_MAGIC.values():
        return _read_image(path, filename, limits, kind)
    if kind == "ole":
        raise UnreadableDocument(_ole_reason(path, filename))
    raise UnreadableDocument(
        f"{filename!r} is not a PDF, DOCX, PPTX, XLSX, PNG, JPEG or TIFF file; convert it to one of these."
    )


def _zip_format(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile as error:
        raise UnreadableDocument("The file is a damaged zip archive; save it again and retry.") from error
    if "[Content_Types].xml" not in names:
        return None
    return next(
        (kind for folder, kind in _ZIP_FOLDERS.items() if any(name.startswith(folder) for name in names)),
        None,
    )


def _check_unpacked(path: Path, kind: str, limits: Limits) -> None:
    if kind == "pdf":
        return
    with zipfile.ZipFile(path) as archive:
        size = sum(part.file_size for part in archive.infolist())
    if size > limits.unpacked_bytes:
        raise DocumentTooLarge(
            f"The {kind} file unpacks to {size} bytes, over the limit of {limits.unpacked_bytes}."
        )


def _ole_reason(path: Path, filename: str) -> str:
    if _ENCRYPTED_PACKAGE in path.read_bytes():
        return f"{filename!r} is protected with a password; remove the protection and retry."
    return f"{filename!r} is a legacy Office file; save it as DOCX, PPTX or XLSX and retry."


def _read_image(path: Path, filename: str, limits: Limits, kind: str) -> Extracted:
    try:
        with Image.open(path) as image:
            image.verify()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UnreadableDocument(f"{filename!r} is a damaged {kind} image.") from error
    title = title_from(filename)
    chapters = Outline(title, limits).build()
    return Extracted(title=title, author=None, source_format=kind, chapters=chapters)
