"""Which files OfficePlane reads, decided as it decides: by their bytes (officeplane.md §3.1)."""

import hashlib
import re
import stat
import unicodedata
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Final

from plait.http.errors import InvalidInput

MAX_SIZE: Final = 100 * 1024 * 1024
"""Our own default; the vendor states no limit."""

_EDGE: Final = 4096
_OLE_DIRECTORY: Final = 1024 * 1024
_OFFICE: Final = "application/vnd.openxmlformats-officedocument."


class Format(StrEnum):
    """The formats OfficePlane accepts."""

    PDF = "pdf"
    DOCX = "docx"
    PPTX = "pptx"
    XLSX = "xlsx"
    DOC = "doc"
    PPT = "ppt"
    XLS = "xls"
    PNG = "png"
    JPEG = "jpeg"
    TIFF = "tiff"


MEDIA_TYPES: Final[Mapping[Format, str]] = {
    Format.PDF: "application/pdf",
    Format.DOCX: _OFFICE + "wordprocessingml.document",
    Format.PPTX: _OFFICE + "presentationml.presentation",
    Format.XLSX: _OFFICE + "spreadsheetml.sheet",
    Format.DOC: "application/msword",
    Format.PPT: "application/vnd.ms-powerpoint",
    Format.XLS: "application/vnd.ms-excel",
    Format.PNG: "image/png",
    Format.JPEG: "image/jpeg",
    Format.TIFF: "image/tiff",
}

_ZIP_PARTS: Final[Mapping[str, Format]] = {
    "word/document.xml": Format.DOCX,
    "ppt/presentation.xml": Format.PPTX,
    "xl/workbook.xml": Format.XLSX,
}
_OLE_STREAMS: Final[Mapping[str, Format]] = {
    "WordDocument": Format.DOC,
    "PowerPoint Document": Format.PPT,
    "Workbook": Format.XLS,
    "Book": Format.XLS,
}
_MAGIC: Final[Mapping[bytes, Format]] = {
    b"\x89PNG\r\n\x1a\n": Format.PNG,
    b"\xff\xd8\xff": Format.JPEG,
    b"II*\x00": Format.TIFF,
    b"MM\x00*": Format.TIFF,
}
_ACCEPTED: Final = ", ".join(Format)


@dataclass(frozen=True, slots=True)
class DetectedFormat:
    """What a file is, and its size in bytes."""

    format: Format
    media_type: str
    size: int


def check_document(path: Path, *, max_size: int = MAX_SIZE) -> DetectedFormat:
    """Look at a file before it is sent; reads the disk, so call it in a thread.

    Raises:
        InvalidInput: missing, no regular file, unreadable, empty, larger than `max_size` bytes, or
            no document of a format that OfficePlane reads. The message names file and remedy.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
            raise InvalidInput(f"{path} is {kind}; give the path of one document")
        _check_size(path, status.st_size, max_size)
        with path.open("rb") as file:
            found = _detect(file, path, status.st_size)
    except FileNotFoundError as error:
        raise InvalidInput(f"{path} does not exist; check the path") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise InvalidInput(f"{path} cannot be read ({reason}); check its permissions") from error
    return DetectedFormat(found, MEDIA_TYPES[found], status.st_size)


def file_digest(path: Path) -> str:
    """SHA-256 of a file in hexadecimal; reads the disk, so call it in a thread."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def wire_filename(name: str) -> str:
    """The file name as OfficePlane can give it back.

    A name outside Latin-1 makes every later download of the original a 500, and a quote breaks its
    header (officeplane.md §3.5); the recovery of a lost upload depends on that download.
    """
    plain = "".join(char for char in unicodedata.normalize("NFKD", name) if not unicodedata.combining(char))
    safe = re.sub(r"[^A-Za-z0-9._ ()+-]+", "_", plain).strip()
    return safe[-150:] or "document"


def _check_size(path: Path, size: int, max_size: int) -> None:
    if size == 0:
        raise InvalidInput(f"{path} is empty; give a file with content")
    if size > max_size:
        raise InvalidInput(
            f"{path} has {size:,} bytes, more than the limit of {max_size:,}; raise it or split the file"
        )


def _detect(file: BinaryIO, path: Path, size: int) -> Format:
    head = file.read(_EDGE)
    for magic, found in _MAGIC.items():
        if head.startswith(magic):
            return found
    if head.startswith(b"%PDF-"):
        _check_pdf_trailer(file, path, size)
        return Format.PDF
    if head.startswith(b"PK"):
        return _zip_format(file, path)
    if head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        return _ole_format(head + file.read(_OLE_DIRECTORY), path)
    raise _unusable(path, head)


def _check_pdf_trailer(file: BinaryIO, path: Path, size: int) -> None:
    file.seek(max(0, size - _EDGE))
    tail = file.read(_EDGE)
    if b"%%EOF" not in tail and b"startxref" not in tail:
        raise InvalidInput(
            f"{path} begins like a PDF but has no PDF trailer: it is cut off; export or copy it again"
        )


def _zip_format(file: BinaryIO, path: Path) -> Format:
    try:
        with zipfile.ZipFile(file) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise InvalidInput(
            f"{path} is a damaged ZIP or Office file ({error}); copy or save it again"
        ) from error
    for part, found in _ZIP_PARTS.items():
        if part in names:
            return found
    raise InvalidInput(
        f"{path} is a ZIP archive but no docx, pptx or xlsx; send the documents inside it one by one"
    )


def _ole_format(content: bytes, path: Path) -> Format:
    """An OLE file by its stream names, else by its extension, which is what the server goes by."""
    for name, found in _OLE_STREAMS.items():
        if name.encode("utf-16-le") in content:
            return found
    suffix = path.suffix.lower().lstrip(".")
    if suffix not in {Format.DOC, Format.PPT, Format.XLS}:
        raise InvalidInput(f"{path} is an OLE file but no doc, ppt or xls; save it as one of: {_ACCEPTED}")
    return Format(suffix)


def _unusable(path: Path, head: bytes) -> InvalidInput:
    if path.suffix.lower() == ".pdf":
        return InvalidInput(
            f"{path} is named .pdf but is no PDF (no %PDF- header); export it as a PDF and send that"
        )
    kind = (
        "a program"
        if head.startswith((b"MZ", b"\x7fELF"))
        else "plain text"
        if _is_text(head)
        else "unknown data"
    )
    return InvalidInput(f"{path} is {kind}, which OfficePlane does not read; give one of: {_ACCEPTED}")


def _is_text(head: bytes) -> bool:
    """Text has no control characters below the tab."""
    return min(head) >= ord("\t")
