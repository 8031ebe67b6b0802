"""Waiting for many runs at once by reading the list of runs, not each run.

One poll costs a page or two, however many runs are waited for. The pause between polls grows with the age of
the youngest run, so that short runs are seen soon and long ones cost little.
"""

import asyncio
import logging
import math
from contextlib import aclosing, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from plait.clock import BootClock, Clock
from plait.failpoints import reach
from plait.http.errors import PlaitError, RateLimited, RequestRejected
from plait.ledger.pipelines import OPEN, RunRecord
from plait.pipelines.source import Source, has_no_such_list

MISSED: Final = 3
"""Polls that did not show a run before it is asked for by its id."""
PAGES: Final = 10
"""At most so many pages of the list a poll reads."""
LAG: Final = 60.0
"""Seconds by which a page may be older than the oldest run waited for, and still be read."""
SHARE: Final = 0.1
"""A pause is this part of the age of the youngest run."""
LONGEST: Final = 300.0
"""Seconds that a vendor may ask us to stay away; deadlines go on meanwhile."""
PER_REQUEST: Final = 0.5
"""Seconds of pause for each request of the last poll, at least: a share of any rate limit stays free."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Shortest and longest pause between two polls, in seconds."""

    fastest: float = 1.0
    slowest: float = 30.0


@dataclass(slots=True)
class _Watched:
    run: RunRecord
    since: float
    future: asyncio.Future[RunRecord]
    missed: int = 0


class Watch:
    """Use as a context; inside, `ended` may be awaited for any number of runs at once."""

    def __init__(self, source: Source, *, pace: Pace | None = None, clock: Clock | None = None) -> None:
        self.requests = 0
        self._source = source
        self._pace = pace or Pace()
        self._clock = clock or BootClock()
        self._watched: dict[str, _Watched] = {}
        self._by_pipeline = False
        self._news = asyncio.Event()
        self._failed: PlaitError | None = None
        self._poller: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._poller = asyncio.create_task(self._poll(), name="plait-watch")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._poller is not None:
            self._poller.cancel()
            with suppress(asyncio.CancelledError):
                await self._poller

    async def ended(self, run: RunRecord) -> RunRecord:
        """The run once it has ended, or once its status is a word that nobody told us.

        Raises the vendor's refusal to be asked, such as `AuthenticationFailed`, at the first poll that
        meets it; a vendor that is down or slow is asked again.
        """
        if self._failed is not None:
            raise self._failed
        future: asyncio.Future[RunRecord] = asyncio.get_running_loop().create_future()
        self._watched[run.id] = _Watched(run, self._clock.now(), future)
        self._news.set()
        try:
            return await future
        finally:
            self._watched.pop(run.id, None)

    async def _poll(self) -> None:
        try:
            while True:
                await self._rest()
                asked = await self._look_or_wait()
                reach("night.polled")
                await self._clock.sleep(asked)
        except PlaitError as error:
            self._fail(error)
        except Exception as error:
            self._fail(PlaitError(f"watching the runs failed: {error}"))
            raise

    async def _rest(self) -> None:
        """Until it is time to look; a run that is new shortens the pause."""
        while not self._watched:
            self._news.clear()
            await self._news.wait()
        began = self._clock.now()
        while (left := began + self._pause() - self._clock.now()) > 0:
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._news.wait()

    def _fail(self, error: PlaitError) -> None:
        self._failed = error
        for one in self._watched.values():
            if not one.future.done():
                one.future.set_exception(error)

    def _pause(self) -> float:
        now = self._clock.now()
        youngest = min((now - one.since for one in self._watched.values()), default=0.0)
        pause = max(self._pace.fastest, youngest * SHARE)
        return min(pause, self._pace.slowest)

    async def _look_or_wait(self) -> float:
        """One poll; gives how many seconds more than the usual pause to wait."""
        before = self.requests
        try:
            await self._look()
        except RequestRejected as error:
            if not isinstance(error, RateLimited):
                raise
            return min(error.retry_after or self._pace.slowest, LONGEST)
        except PlaitError as error:
            _log.warning("the runs could not be looked at (%s); they are looked at again", error)
            return min(error.retry_after or self._pace.fastest, LONGEST)
        return max(0.0, (self.requests - before) * PER_REQUEST - self._pace.fastest)

    async def _look(self) -> None:
        wanted = set(self._watched)
        if not self._by_pipeline and not await self._source.by_pipeline():
            try:
                await self._read(None, wanted)
            except RequestRejected as error:
                if not has_no_such_list(error):
                    raise
                self._by_pipeline = True
        if self._by_pipeline or await self._source.by_pipeline():
            for pipeline_id in {one.run.pipeline_id for one in self._waiting(wanted)}:
                await self._read(pipeline_id, wanted)
        for one in self._waiting(wanted):
            await self._ask(one)

    def _waiting(self, run_ids: set[str]) -> list[_Watched]:
        """Those of these that are waited for still."""
        return [one for run_id in run_ids if (one := self._watched.get(run_id)) is not None]

    async def _read(self, pipeline_id: str | None, wanted: set[str]) -> None:
        """Take what is waited for out of one list, and out of `wanted`."""
        pages = 0
        oldest = min((one.run.started_at or 0.0 for one in self._watched.values()), default=0.0)
        async with aclosing(self._source.run_pages(pipeline_id)) as found:
            async for page in found:
                self.requests += 1
                pages += 1
                for record in page.items:
                    if record.id in wanted:
                        wanted.discard(record.id)
                        self._see(record)
                times = (record.started_at for record in page.items if record.started_at is not None)
                newest = max(times, default=math.inf)
                if not wanted or pages >= PAGES or newest < oldest - LAG:
                    return

    async def _ask(self, one: _Watched) -> None:
        """A run that the list does not show is asked for itself after a few polls."""
        one.missed += 1
        if one.missed < MISSED:
            return
        one.missed = 0
        self.requests += 1
        found = await self._source.run(one.run.id)
        self._see(
            found or RunRecord(id=one.run.id, pipeline_id=one.run.pipeline_id, status="unknown", word="gone")
        )

    def _see(self, record: RunRecord) -> None:
        one = self._watched.get(record.id)
        if one is None:
            return
        one.missed = 0
        if record.status not in OPEN and not one.future.done():
            one.future.set_result(record)
