"""Run history into the ledger: the newest page first, and no further than what is known already.

The position of a list stands in the same transaction as the rows of each page, so that a killed sync goes
on where it was: `newest` says from which moment down the list is known, `unread` where its first reading
stopped.
"""

import asyncio
from collections import deque
from collections.abc import Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Final

from sqlalchemy import Connection

from plait.http.errors import NotFound, RequestRejected, ValidationFailed
from plait.ledger import Ledger
from plait.ledger.pipelines import (
    ENDED,
    OPEN,
    RunRecord,
    keep_outcome,
    keep_position,
    open_runs,
    pipelines,
    position_of,
    put_runs,
    run_of,
    unknown_pipelines,
    without_details,
)
from plait.ledger.recipe import Json
from plait.pipelines.source import Page, Pages, Source, Synced, has_no_such_list

CONCURRENCY: Final = 8
LOOKS: Final = 50
"""At most so many runs that were at work are asked for one by one; the newest count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Position:
    newest: float = 0.0
    unread: str | None = None

    @classmethod
    def read(cls, stored: Json) -> "_Position | None":
        return None if stored is None else cls(newest=stored["newest"], unread=stored["unread"])

    def stored(self) -> Json:
        return {"newest": self.newest, "unread": self.unread}


async def sync_history(ledger: Ledger, source: Source) -> Synced:
    """Read what is new in the list of runs, and look again at runs that were at work.

    The first time the list is read to its end. After that it is read down to the first page that begins no
    later than the last reading's newest run and shows nothing new. An unchanged list costs one request and
    no row. A run that the vendor lists later, and more than a page below its newest, is not seen.

    Where the vendor lists runs for one pipeline at a time only, that is so for each pipeline's list.
    """
    reader = _Reader(ledger, source)
    await reader.read_all()
    await reader.look_again()
    return Synced(requests=reader.requests, written=reader.written, strangers=reader.strangers)


async def look_up_rows(
    ledger: Ledger, source: Source, pipeline_ids: Collection[str], since: float, *, limit: int = 1_000
) -> Synced:
    """Ask for recent successes whose rows no list has told, one by one and each once; the newest first."""
    scope, database = source.scope, ledger.database

    def wanted(connection: Connection) -> deque[str]:
        found = without_details(connection, scope, since)
        return deque(islice((run_id for run_id, owner in found if owner in pipeline_ids), limit))

    waiting = await database.read(wanted)
    asked = len(waiting)

    async def work() -> None:
        while waiting:
            run = await source.run(waiting.popleft())
            if run is not None:
                await database.write(
                    lambda connection, run=run: keep_outcome(connection, scope, run, log_tail=""),  # type: ignore[misc]
                    commit="sync",
                )

    async with asyncio.TaskGroup() as group:
        for _ in range(min(CONCURRENCY, asked)):
            group.create_task(work())
    return Synced(requests=asked, written=asked)


class _Reader:
    def __init__(self, ledger: Ledger, source: Source) -> None:
        self.requests = 0
        self.written = 0
        self.strangers = False
        self._ledger = ledger
        self._source = source
        self._at_work: set[str] = set()

    async def read_all(self) -> None:
        """Bring the list of all runs up to date, or each pipeline's where there is none."""
        if not await self._source.by_pipeline():
            try:
                return await self.read(None)
            except RequestRejected as error:
                if not has_no_such_list(error):
                    raise
        scope = self._source.scope
        for pipeline_id in await self._ledger.database.read(
            lambda connection: [one.id for one in pipelines(connection, scope)]
        ):
            await self.read(pipeline_id)
        return None

    async def read(self, of: str | None) -> None:
        """Bring one list up to date."""
        stored = await self._ledger.database.read(
            lambda connection: position_of(connection, self._source.scope.account, self._stream(of))
        )
        position = _Position.read(stored)
        if position is not None:
            position = await self._read_newest(of, position)
            if position.unread is None or await self._read_rest(of, position):
                return
        await self._read_whole(of)

    def _stream(self, of: str | None) -> str:
        return f"runs of {self._source.scope.kind} {'*' if of is None else of}"

    async def _read_newest(self, of: str | None, known: _Position) -> _Position:
        """From the top down to what the last reading has seen."""
        reached = known
        async with aclosing(self._pages(of)) as pages:
            async for page in pages:
                moment = _newest(page.items)
                reached = replace(reached, newest=max(reached.newest, moment or 0.0))
                # What is queued may have no time: a page of such only says nothing of where it stands.
                at_known = known.newest == 0.0 if moment is None else moment <= known.newest
                if await self._keep(of, page, reached if at_known else None, if_nothing_is_new=True):
                    return reached
        await self._keep(of, Page(()), replace(reached, unread=None))
        return replace(reached, unread=None)

    async def _read_rest(self, of: str | None, known: _Position) -> bool:
        """Go on where the first reading stopped; False where the vendor no longer takes the cursor."""
        try:
            async with aclosing(self._pages(of, known.unread)) as pages:
                async for page in pages:
                    await self._keep(of, page, replace(known, unread=page.cursor))
        except (ValidationFailed, NotFound):
            return False
        await self._keep(of, Page(()), replace(known, unread=None))
        return True

    async def _read_whole(self, of: str | None) -> None:
        """From the top to the end; with cursors, a later sync can go on from every page."""
        position = None
        async with aclosing(self._pages(of)) as pages:
            async for page in pages:
                position = position or _Position(newest=_newest(page.items) or 0.0)
                position = replace(position, unread=page.cursor)
                await self._keep(of, page, position if page.cursor else None)
        await self._keep(of, Page(()), replace(position or _Position(), unread=None))

    async def _pages(self, of: str | None, start: str | None = None) -> Pages[RunRecord]:
        async with aclosing(self._source.run_pages(of, start)) as pages:
            async for page in pages:
                self.requests += 1
                self._at_work |= {one.id for one in page.items if one.status not in ENDED}
                yield page

    async def _keep(
        self,
        of: str | None,
        page: Page[RunRecord],
        position: _Position | None,
        *,
        if_nothing_is_new: bool = False,
    ) -> bool:
        """Write a page and, in the same transaction, the position that it leads to.

        With `if_nothing_is_new` the position is reached only by a page that shows what is known; says
        whether it was reached.
        """
        database, scope, stream = self._ledger.database, self._source.scope, self._stream(of)

        def work(connection: Connection) -> tuple[bool, int, bool]:
            written = put_runs(database, connection, scope, page.items).written
            owners = {one.pipeline_id for one in page.items} if written else set()
            strangers = bool(unknown_pipelines(connection, scope, owners))
            if position is None or (if_nothing_is_new and written):
                return False, written, strangers
            kept = keep_position(database, connection, scope.account, stream, position.stored())
            return True, written + kept, strangers

        reached, written, strangers = await database.write(work, commit="sync")
        self.written += written
        self.strangers |= strangers
        return reached

    async def look_again(self) -> None:
        """Ask for runs that were at work and that no page of this sync has shown."""
        scope, database = self._source.scope, self._ledger.database
        known = await database.read(lambda connection: open_runs(connection, scope, limit=LOOKS))
        for run_id in known:
            if run_id not in self._at_work:
                found = await self._source.run(run_id)
                self.requests += 1
                self.written += await database.write(partial(self._settle, run_id, found), commit="sync")

    def _settle(self, run_id: str, found: RunRecord | None, connection: Connection) -> int:
        scope = self._source.scope
        if found is None:
            row = run_of(connection, scope, run_id)
            owner = "" if row is None else row.pipeline_id
            found = RunRecord(id=run_id, pipeline_id=owner, status="unknown", word="gone")
        if found.status in OPEN:
            return 0
        keep_outcome(connection, scope, found)
        return 1


def _newest(items: Sequence[RunRecord]) -> float | None:
    return max((one.started_at for one in items if one.started_at is not None), default=None)
