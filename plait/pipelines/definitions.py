"""Definitions into the ledger: all of them now and then, and in between whether their number is the same.

No source shows an order or a filter by time for the vendor's list, so a change of one entry cannot be seen
without reading the page it stands on. The quick comparison reads the first page, the total, and how many
there are of each status; where the vendor tells no total, the first page and the last. It sees what was
added, removed, paused or resumed, as far as the numbers tell. It does not see a new name or new tags on a
page it does not read, nor a pause that a resumption elsewhere balances: that is for the full comparison.
"""

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from sqlalchemy import Connection

from plait.http.errors import NotFound, ValidationFailed
from plait.ledger import Ledger
from plait.ledger.pipelines import (
    PipelineRecord,
    count_pipelines,
    forget_pipelines,
    keep_position,
    pipelines,
    position_of,
    put_pipelines,
)
from plait.ledger.recipe import Json
from plait.pipelines.source import Page, Source, Synced

Compare: TypeAlias = Literal["quick", "full"]
WEEK: Final = 7 * 86_400.0
"""Seconds after which a quick comparison becomes a full one."""
WORDS: Final = 8
"""At most so many status words are asked for one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Position:
    full_at: float
    """When every entry was compared last, by the ledger's clock."""
    last: str | None
    """The cursor of the last page; None where there is one page, or no cursor."""

    @classmethod
    def read(cls, stored: Json) -> "_Position | None":
        return None if stored is None else cls(full_at=stored["full_at"], last=stored["last"])


async def sync_definitions(
    ledger: Ledger, source: Source, compare: Compare = "quick", *, full_after: float = WEEK
) -> Synced:
    """Bring the definitions up to date; an unchanged list costs a few requests and no row.

    A quick comparison becomes a full one where nothing was compared yet, where the last full one is
    `full_after` seconds old, and where it finds that the list is not what is known.
    """
    comparison = _Comparison(ledger, source)
    complete = compare == "full" or not await comparison.quick(full_after)
    if complete:
        await comparison.full()
    return Synced(requests=comparison.requests, written=comparison.written, complete=complete)


class _Comparison:
    def __init__(self, ledger: Ledger, source: Source) -> None:
        self.requests = 0
        self.written = 0
        self._ledger = ledger
        self._source = source
        self._stream = f"{source.scope.kind}s"

    async def quick(self, full_after: float) -> bool:
        """Whether the list is, as far as a glance can tell, what is known."""
        known, now = await self._ledger.database.read(
            lambda connection: (
                _Position.read(position_of(connection, self._source.scope.account, self._stream)),
                self._ledger.database.now(connection),
            )
        )
        if known is None or now >= known.full_at + full_after:
            return False
        first = await self._first_page()
        counts = await self._counts()
        if first.total is not None:
            if first.total != sum(counts.values()):
                return False
            return first.total <= len(first.items) or await self._statuses_are_known(counts)
        if first.cursor is None or known.last is None:
            return first.cursor is None and known.last is None and len(first.items) == sum(counts.values())
        return await self._last_page_is_known(known.last)

    async def _first_page(
        self, start: str | None = None, *, status: str | None = None
    ) -> Page[PipelineRecord]:
        async with aclosing(self._source.definition_pages(start, status=status)) as found:
            page: Page[PipelineRecord] = await anext(found, Page(()))
        self.requests += 1
        await self._put(page.items)
        return page

    async def _counts(self) -> dict[str, int]:
        return await self._ledger.database.read(
            lambda connection: count_pipelines(connection, self._source.scope)
        )

    async def _statuses_are_known(self, counts: dict[str, int]) -> bool:
        """Whether as many are paused, active and so on as before; True where the vendor cannot be asked."""
        if not self._source.filters_by_status or len(counts) > WORDS:
            return True
        for status, count in counts.items():
            page = await self._first_page(status=status)
            if page.total is None or any(one.status != status for one in page.items):
                return True  # it ignores the filter
            if page.total != count:
                return False
        return True

    async def _last_page_is_known(self, cursor: str) -> bool:
        before = self.written
        try:
            page = await self._first_page(cursor)
        except (ValidationFailed, NotFound):
            return False
        return page.cursor is None and self.written == before

    async def full(self) -> None:
        """Read every page; what the vendor no longer lists is marked.

        Where no total proves that nothing was missed, a second reading must miss it too: a list that
        changes while it is read can move an entry past the reader.
        """
        seen, last, total = await self._read_all()
        missing = await self._missing(seen)
        if missing and total != len(seen):
            again, last, _ = await self._read_all()
            missing -= again
        scope, database = self._source.scope, self._ledger.database

        def work(connection: Connection) -> int:
            forgotten = forget_pipelines(database, connection, scope, sorted(missing))
            position = {"full_at": database.now(connection), "last": last}
            return forgotten + keep_position(database, connection, scope.account, self._stream, position)

        self.written += await database.write(work, commit="sync")

    async def _read_all(self) -> tuple[set[str], str | None, int | None]:
        """The ids, the cursor of the last page, and the total that the vendor told last."""
        seen: set[str] = set()
        last: str | None = None
        total: int | None = None
        following: str | None = None
        async with aclosing(self._source.definition_pages()) as found:
            async for page in found:
                self.requests += 1
                await self._put(page.items)
                seen |= {one.id for one in page.items}
                last, following, total = following, page.cursor, page.total
        return seen, last, total

    async def _missing(self, seen: set[str]) -> set[str]:
        return await self._ledger.database.read(
            lambda connection: {one.id for one in pipelines(connection, self._source.scope)} - seen
        )

    async def _put(self, records: Sequence[PipelineRecord]) -> None:
        scope, database = self._source.scope, self._ledger.database
        put = await database.write(
            lambda connection: put_pipelines(database, connection, scope, records), commit="sync"
        )
        self.written += put.written
