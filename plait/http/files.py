"""Files coming in: streamed beside their destination, checked, made durable, then renamed."""

import asyncio
import base64
import contextlib
import hashlib
import os
import re
import secrets
import sys
import unicodedata
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import unquote_to_bytes

import httpx

from plait.http.errors import ConfigurationError, LimitExceeded, MalformedResponse

_BATCH: Final = 1024 * 1024
_NAME_BYTES: Final = 200
_EXTENDED: Final = re.compile(r"filename\*\s*=\s*\"?([\w-]+)'[^']*'([^;\"\s]+)", re.IGNORECASE)
_QUOTED: Final = re.compile(r"filename\s*=\s*\"(.*)\"\s*(?:$|;\s*[\w*-]+\s*=)", re.IGNORECASE | re.DOTALL)
_BARE: Final = re.compile(r"filename\s*=\s*\"?([^;\"]+)", re.IGNORECASE)
_UNSAFE: Final = re.compile(r'[<>:"|?*]')
_DEVICES: Final = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_DIGEST: Final = re.compile(r"sha-256=:([A-Za-z0-9+/=]+):")


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A file that arrived completely. `filename` is the vendor's name for it, made a bare safe one."""

    path: Path
    size: int
    sha256: str
    media_type: str
    filename: str | None


async def sha256_of(path: Path) -> str:
    """The hexadecimal SHA-256 of a file, in constant memory and off the event loop."""

    def digest() -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    return await asyncio.to_thread(digest)


async def save(
    response: httpx.Response, chunks: AsyncIterator[bytes], destination: Path, limit: int | None
) -> Downloaded:
    """Stream `chunks` into `destination`, which appears whole or not at all.

    Raises `LimitExceeded` over `limit` bytes, `MalformedResponse` when length or digest differ from
    what the headers say, `ConfigurationError` when the folder cannot be written.
    """
    announced = _length(response)
    _hold(announced, limit)
    part = _Part(destination)
    try:
        await asyncio.to_thread(part.open)
        async for batch in _batches(chunks):
            await asyncio.to_thread(part.write, batch)
            _hold(part.size, limit)
        sha256 = _checked(part, announced, response)
        await asyncio.to_thread(part.publish)
    except BaseException:
        part.discard()
        raise
    media_type = response.headers.get("content-type", "application/octet-stream").partition(";")[0].strip()
    return Downloaded(destination, part.size, sha256, media_type, offered_name(response))


def _length(response: httpx.Response) -> int | None:
    text = response.headers.get("content-length", "")
    encoded = response.headers.get("content-encoding", "identity") != "identity"
    return int(text) if text.isascii() and text.isdigit() and not encoded else None


def _hold(size: int | None, limit: int | None) -> None:
    if size is not None and limit is not None and size > limit:
        raise LimitExceeded(
            f"the file is larger than the limit of {limit} bytes; raise the limit to fetch it"
        )


def _checked(part: "_Part", announced: int | None, response: httpx.Response) -> str:
    if announced is not None and part.size != announced:
        raise MalformedResponse(f"the file has {part.size} bytes; {announced} were announced")
    digest = part.sha256.digest()
    promised = _DIGEST.search(response.headers.get("repr-digest", ""))
    if promised and base64.b64encode(digest).decode() != promised[1]:
        raise MalformedResponse("the file's SHA-256 is not the one its Repr-Digest header announces")
    return digest.hex()


async def _batches(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Fewer, larger pieces: each is one trip to a thread."""
    held = bytearray()
    async for chunk in chunks:
        held += chunk
        if len(held) >= _BATCH:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)


class _Part:
    """The file while it arrives; its own name, so that two downloads never write into each other."""

    def __init__(self, destination: Path) -> None:
        name = f".{destination.name[:80]}.{secrets.token_hex(4)}.part"
        self._path, self._destination = destination.with_name(name), destination
        self._file: BinaryIO | None = None
        self.size = 0
        self.sha256 = hashlib.sha256()

    def open(self) -> None:
        try:
            self._file = self._path.open("xb")
        except OSError as error:
            folder = self._destination.parent
            raise ConfigurationError(f"cannot write into {folder}: {error.strerror}") from error

    def write(self, batch: bytes) -> None:
        assert self._file is not None  # noqa: S101 -- for mypy: `open` came first
        self._file.write(batch)
        self.sha256.update(batch)
        self.size += len(batch)

    def publish(self) -> None:
        assert self._file is not None  # noqa: S101 -- for mypy: `open` came first
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._path.replace(self._destination)
        if sys.platform != "win32":
            folder = os.open(self._destination.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def discard(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


def offered_name(response: httpx.Response) -> str | None:
    """The file name in Content-Disposition, read tolerantly (officeplane.md §3.5) and made safe."""
    raw = next((value for name, value in response.headers.raw if name.lower() == b"content-disposition"), b"")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return safe_name(_disposition_name(text))


def _disposition_name(text: str) -> str:
    if extended := _EXTENDED.search(text):
        with contextlib.suppress(LookupError, UnicodeDecodeError):
            return unquote_to_bytes(extended[2]).decode(extended[1])
    if quoted := _QUOTED.search(text):
        return re.sub(r'\\(["\\])', r"\1", quoted[1])
    bare = _BARE.search(text)
    return bare[1].strip() if bare else ""


def safe_name(text: str) -> str | None:
    """A bare file name that is safe on every system, or None where nothing is left of it."""
    name = unicodedata.normalize("NFC", text).replace("\\", "/").rpartition("/")[2]
    name = "".join(c for c in name if unicodedata.category(c) not in {"Cc", "Cf", "Cs"})
    name = _UNSAFE.sub("_", name).strip().strip(".").strip()
    if _DEVICES.fullmatch(name):
        name = f"_{name}"
    stem, dot, suffix = name.rpartition(".")
    if dot and stem and len(suffix) < _NAME_BYTES // 4:
        room = _NAME_BYTES - len(suffix.encode()) - 1
        return f"{_cut(stem, room)}.{suffix}"
    return _cut(name, _NAME_BYTES) or None


def _cut(text: str, size: int) -> str:
    return text.encode()[:size].decode("utf-8", "ignore")
