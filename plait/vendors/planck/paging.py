"""Whole lists out of `skip`/`limit` pages (planck.md §2.3)."""

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeAlias, TypeVar

from plait import failpoints
from plait.http.errors import MalformedResponse

LIMIT: Final = 100
TRIES: Final = 3

ItemT = TypeVar("ItemT")


@dataclass(frozen=True, slots=True)
class Page(Generic[ItemT]):
    """One page. `count` is of all pages, where the server says it."""

    data: list[ItemT]
    count: int | None = None


Fetch: TypeAlias = Callable[[int, int], Awaitable[Page[ItemT]]]
"""Reads one page, given skip and limit."""
Identify: TypeAlias = Callable[[ItemT], Hashable]
"""Tells the items of a list apart."""


async def read_all(fetch: Fetch[ItemT], identify: Identify[ItemT], *, what: str) -> list[ItemT]:
    """Every item of a list, or an error: never a part of it.

    A list that changes its length meanwhile is read again, because an item removed in front moves
    others past the reader.

    Raises:
        MalformedResponse: the server repeats a page or ends before the count it announced.
    """
    for _ in range(TRIES):
        items = await _one_pass(fetch, identify, what)
        if items is not None:
            return list(items.values())
    raise MalformedResponse(f"the list of {what} changed {TRIES} times while it was read; try again later")


async def _one_pass(
    fetch: Fetch[ItemT], identify: Identify[ItemT], what: str
) -> dict[Hashable, ItemT] | None:
    """The items by identity, or None where the list changed underneath."""
    page = await fetch(0, LIMIT)
    count, skip = page.count, len(page.data)
    items = {identify(item): item for item in page.data}
    first = next(iter(items), None)
    while page.data and (count is None or len(items) < count):
        failpoints.reach("look.between_pages")
        page = await fetch(skip, LIMIT)
        if page.count != count:
            return None
        if page.data and identify(page.data[0]) == first:
            _check_whole(skip, count, what)
            break
        skip += len(page.data)
        items |= {identify(item): item for item in page.data}
    if count is not None and len(items) < count:
        raise MalformedResponse(
            f"the list of {what} ended after {len(items)} of {count} items; try again later"
        )
    return items


def _check_whole(read: int, count: int | None, what: str) -> None:
    """The server ignores `skip`: its one page is everything only if it does not look cut at `limit`."""
    if count is not None or read % LIMIT == 0:
        total = "more" if count is None else str(count)
        raise MalformedResponse(
            f"the server repeats its first page of {what}: {read} of {total} could be read"
        )
