"""From what a person gives (paths, patterns, addresses) to files that OfficePlane can read."""

import asyncio
import glob
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

from flows._models import LeftOut, SourceDocument
from plait.http.errors import InvalidInput, PlaitError
from plait.http.public import fetch_public
from plait.vendors.officeplane.formats import check_document, file_digest

MEGABYTE: Final = 1024 * 1024
_ADDRESS: Final = ("http://", "https://")
_PATTERN: Final = frozenset("*?[")


async def gather(
    given: Sequence[str], *, downloads: Path, max_size: int
) -> tuple[list[SourceDocument], list[LeftOut]]:
    """Look at every document before anything is sent.

    Args:
        given: Paths, patterns such as `contracts/*.pdf`, or http(s) addresses.
        downloads: A folder for what has to be fetched.
        max_size: Bytes above which a file is refused.

    Returns:
        The usable documents, each content once, and the others with the reason.

    Raises:
        InvalidInput: No document was given.
        PlaitError: None can be used; of the one type that all reasons share.
    """
    if not given:
        raise InvalidInput("no document was given; name at least one file, pattern or address")
    found: dict[str, SourceDocument] = {}
    left_out: list[LeftOut] = []
    errors: list[PlaitError] = []
    for source in given:
        try:
            for path in await _files_of(source, downloads, max_size):
                document = await asyncio.to_thread(_inspect, path, max_size)
                twin = found.setdefault(document.sha256, document)
                if twin.path != document.path:
                    reason = f"has the same content as {twin.name}"
                    left_out.append(LeftOut(name=document.name, reason=reason))
        except PlaitError as error:
            errors.append(error)
            left_out.append(LeftOut(name=_name_of(source), reason=error.message))
    if not found:
        raise nothing_left(errors)
    return list(found.values()), left_out


def nothing_left(errors: Sequence[PlaitError]) -> PlaitError:
    """The error of a run without a usable document: of the errors' own type where they share one."""
    kinds = {type(error) for error in errors}
    if len(errors) == 1:
        return errors[0]
    reasons = "; ".join(error.message for error in errors)
    kind = kinds.pop() if len(kinds) == 1 else PlaitError
    return kind(f"none of the documents can be used: {reasons}")


def _inspect(path: Path, max_size: int) -> SourceDocument:
    size = check_document(path, max_size=max_size).size
    return SourceDocument(name=path.name, path=path, sha256=file_digest(path), size=size)


async def _files_of(source: str, downloads: Path, max_size: int) -> list[Path]:
    if source.lower().startswith(_ADDRESS):
        return [await _fetch(source, downloads, max_size)]
    return await asyncio.to_thread(_matches, source)


def _matches(source: str) -> list[Path]:
    path = Path(source).expanduser()
    if not _PATTERN & set(source) or path.exists():
        return [path]
    found = glob.glob(str(path), recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
    files = sorted(match for match in map(Path, found) if match.is_file())
    if not files:
        raise InvalidInput(f"no file matches {source!r}; check the pattern and the working directory")
    return files


async def _fetch(address: str, downloads: Path, max_size: int) -> Path:
    folder = await asyncio.to_thread(tempfile.mkdtemp, dir=downloads)
    return (await fetch_public(address, Path(folder) / _name_of(address), limit=max_size)).path


def _name_of(source: str) -> str:
    if not source.lower().startswith(_ADDRESS):
        return Path(source).name or source
    return PurePosixPath(unquote(urlsplit(source).path)).name or "document"
