"""Lists of every dialect, page by page, behind one async iterator (planasonix.md §2.4, §7.1 C9)."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Generic, TypeAlias, TypeVar

from pydantic import ValidationError

from plait import failpoints
from plait.http import Answer
from plait.http.errors import MalformedResponse
from plait.http.operation import Operation
from plait.http.words import clean
from plait.vendors.planasonix.models import Received
from plait.vendors.planasonix.shapes import Listed, listed

LIMIT: Final = 100
"""Entries of a page; the default of the vendor is 50, its maximum is not stated (planasonix.md §2.4)."""
RECENT: Final = 5_000
"""Ids kept of what was read last."""
_ROUND: Final = 5
_IDS: Final = ("id", "job_id", "jobId", "run_id", "runId", "node_id", "nodeId")

ItemT = TypeVar("ItemT", bound=Received)


@dataclass(frozen=True, slots=True)
class Page(Generic[ItemT]):
    """One page: what it brought that earlier ones did not."""

    items: list[ItemT]
    cursor: str | None
    """Where the next page begins, where the server has cursors."""
    total: int | None


Fetch: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[Answer]]
"""Asks for a page, given the query."""


async def pages(
    fetch: Fetch,
    operation: Operation,
    kind: type[ItemT],
    query: Mapping[str, Any],
    *,
    start: str | None = None,
    window: bool = False,
) -> AsyncGenerator[Page[ItemT], None]:
    """Every page, by cursor where the server has cursors, else by offset. Each item comes once.

    A list may be longer than memory: an item is known again for the next `RECENT` items, which is farther
    than entries that begin meanwhile can move it. The end is a missing cursor, the total, an empty page, or
    a cursor that comes again. With `start` the first page is the one of that cursor. With `window` the list
    is known to show only its newest entries, however many there are.

    Raises:
        MalformedResponse: an entry has no id, or the server repeats a page or a cursor before it has shown
            as many entries as it announced: half a list is never given for a whole one.
    """
    read = 0
    seen: dict[str, None] = {}
    used: set[str] = set()
    place: dict[str, Any] = {} if start is None else {"cursor": start}
    announced: int | None = None
    while True:
        found = listed(await fetch({**query, "limit": LIMIT, **place}))
        # What begins while we read is not part of the list, and may stand in front of it.
        announced = found.total if announced is None else min(announced, found.total or announced)
        fresh = {key: row for row in found.rows if (key := _id_of(operation, row)) not in seen}
        read += len(fresh)
        seen |= dict.fromkeys(fresh)
        for old in list(islice(seen, max(0, len(seen) - RECENT))):
            del seen[old]
        yield Page([_read(operation, kind, row) for row in fresh.values()], found.cursor, found.total)
        step = _next(found, read, asked_offset="offset" in place, fresh=bool(fresh))
        if step is None or step.get("cursor") in used:
            if start is None and not window:
                _check_whole(operation, found, read, announced, fresh=bool(fresh))
            return
        if found.rows and not fresh:
            raise _malformed(operation, f"the server repeats a page; {read} entries could be read")
        used |= {step["cursor"]} if "cursor" in step else set()
        place = step
        failpoints.reach("look.between_pages")


async def items(found: AsyncIterator[Page[ItemT]]) -> AsyncIterator[ItemT]:
    """The items of all pages."""
    async for page in found:
        for item in page.items:
            yield item


def _next(found: Listed, read: int, *, asked_offset: bool, fresh: bool) -> dict[str, Any] | None:
    """How to ask for the next page, or None where there is none."""
    if not found.rows:
        return None
    if found.cursor is not None:
        return {"cursor": found.cursor}
    if found.total is not None:
        return {"offset": read} if fresh and read < found.total else None
    if not found.bare or not fresh:
        return None
    count = len(found.rows)
    # A page of a round size may be one that the server cut below what we asked; one that is larger than
    # that ignores the limit, and is everything.
    cut = count == LIMIT or (count < LIMIT and count % _ROUND == 0)
    return {"offset": read} if cut or asked_offset else None


def _check_whole(
    operation: Operation, found: Listed, read: int, announced: int | None, *, fresh: bool
) -> None:
    if announced is not None and read < announced:
        raise _malformed(operation, f"the list ended after {read} of {announced} entries; try again later")
    if found.bare and not fresh and len(found.rows) == LIMIT:
        raise _malformed(operation, f"the server repeats its first page; {read} entries could be read")


def _id_of(operation: Operation, row: Any) -> str:
    if isinstance(row, Mapping):
        for name in _IDS:
            if isinstance(row.get(name), str) and row[name]:
                return str(row[name])
    raise _malformed(operation, "an entry of the list has no id")


def _read(operation: Operation, kind: type[ItemT], row: Any) -> ItemT:
    try:
        return kind.model_validate(row)
    except ValidationError as error:
        # No inputs: an entry may hold what nobody should read in a log.
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        said = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise _malformed(operation, f"an entry does not fit {kind.__name__}: {clean(said)}") from None


def _malformed(operation: Operation, message: str) -> MalformedResponse:
    return MalformedResponse(message, system=operation.system, operation=operation.name)
