"""A file sent as multipart/form-data: streamed from disk, with its exact length known beforehand."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import httpx

from plait.failpoints import reach
from plait.http.errors import InvalidInput

CHUNK: Final = 256 * 1024
_MEDIA_TYPE: Final = re.compile(r"[\w.+-]+/[\w.+-]+(; ?[\w-]+=[\w.+-]+)*")
_FIELD: Final = re.compile(r"[\w.\[\]-]+")


@dataclass(frozen=True, slots=True)
class Upload:
    """One file to send; `filename` is what the vendor is told, and need not be the name on disk."""

    field: str
    path: Path
    filename: str
    media_type: str
    fields: tuple[tuple[str, str], ...] = ()
    """Text fields, sent before the file in this order: some servers read the file first come, first
    served (placet.md §3.9)."""

    def __post_init__(self) -> None:
        for name, value in ((self.field, ""), *self.fields):
            if not _FIELD.fullmatch(name) or "\r" in value or "\n" in value:
                raise InvalidInput(f"the form field {name!r} is not a plain name with a value of one line")
        if not _MEDIA_TYPE.fullmatch(self.media_type):
            raise InvalidInput(f"{self.media_type!r} is not a media type such as application/pdf")
        if not self.filename.strip() or not self.filename.isprintable():
            raise InvalidInput(f"the file name {self.filename!r} is empty or holds control characters")


@dataclass(frozen=True, slots=True)
class Form:
    """An upload with its framing and size fixed: what every request of one call sends alike."""

    upload: Upload
    boundary: str
    size: int

    @classmethod
    async def of(cls, upload: Upload) -> "Form":
        """Look at the file; `InvalidInput` when there is none to send."""
        try:
            stat = await asyncio.to_thread(upload.path.stat)
        except OSError as error:
            raise InvalidInput(f"cannot read the file to upload, {upload.path}: {error.strerror}") from error
        if not await asyncio.to_thread(upload.path.is_file):
            raise InvalidInput(f"{upload.path} is not a file; name one file to upload")
        return cls(upload, secrets.token_hex(16), stat.st_size)

    @property
    def head(self) -> bytes:
        """Everything before the file's first byte. The name is escaped as browsers do."""
        name = self.upload.filename.replace('"', "%22").replace("\\", "\\\\")
        fields = "".join(
            f'--{self.boundary}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'
            for field, value in self.upload.fields
        )
        return (
            f"{fields}--{self.boundary}\r\n"
            f'Content-Disposition: form-data; name="{self.upload.field}"; filename="{name}"\r\n'
            f"Content-Type: {self.upload.media_type}\r\n\r\n"
        ).encode()

    @property
    def tail(self) -> bytes:
        """The closing boundary: without it no server sees a complete form."""
        return f"\r\n--{self.boundary}--\r\n".encode()

    @property
    def headers(self) -> dict[str, str]:
        """Content type and exact length."""
        length = len(self.head) + self.size + len(self.tail)
        return {
            "Content-Type": f"multipart/form-data; boundary={self.boundary}",
            "Content-Length": str(length),
        }


class FormBody(httpx.AsyncByteStream):
    """The bytes of a form, for one request. `check` may raise before any chunk but the first."""

    def __init__(self, form: Form, check: Callable[[], None]) -> None:
        self._form = form
        self._check = check
        self._file: BinaryIO | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        path = self._form.upload.path
        try:
            self._file = await asyncio.to_thread(path.open, "rb")
        except OSError as error:
            raise InvalidInput(f"cannot read the file to upload, {path}: {error.strerror}") from error
        yield self._form.head
        left = self._form.size
        while left:
            chunk = await asyncio.to_thread(self._file.read, min(CHUNK, left))
            if not chunk:
                raise InvalidInput(f"{path} became shorter while it was being sent; send it again")
            reach("chunk.between")
            self._check()
            yield chunk
            left -= len(chunk)
        reach("body.last_chunk.before")
        self._check()
        yield self._form.tail

    async def aclose(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
