"""Take up what people decided: record each decision, and resume the runs that wait for it.

As a deployment: see prefect.yaml; one run of it serves any number of waiting runs
As a command:    python -m flows.resume_reviews --watch-for 3600

One list call a channel tells what waits, however much that is. Placet's event channel only says when to
look; the review is always read from Placet, the decision always from the ledger.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, Final, cast

from httpx import HTTPError  # what Prefect's client raises where its server does not answer
from prefect import flow
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import BaseModel, Field

from blocks import EffectLedger, PlacetCredentials, PletorCredentials, resolve
from flows._resuming import gone_runs, resume_decided, withdraw
from plait.content.remark import escape_cell
from plait.content.text import counted, one_line
from plait.effects_text import span
from plait.http.errors import ConfigurationError, NotFound, PlaitError
from plait.ledger import Ledger
from plait.ledger.review_views import (
    ReviewView,
    count_open_reviews,
    find_reviews,
    list_reviews,
    open_messages,
    open_subjects,
)
from plait.reviews import Inbox, Pass
from plait.reviews.at_pletor import PletorSubject, fetch, look
from plait.vendors.placet.client import PlacetClient
from plait.vendors.placet.socket import listen
from plait.vendors.pletor.client import PletorClient
from plait.vendors.pletor.models import Run as PletorRun
from tasks._progress import say

ROW_LIMIT: Final = 200
SLOW: Final = 60.0
"""Seconds between two looks for decisions at Pletor, and for runs that were cancelled."""
ONE_BY_ONE: Final = 40
"""So many Pletor runs are read singly; more are read as a list."""
FEW: Final = 5
"""So many runs are named in one line of trouble."""
GAP: Final = 0.75
"""Seconds a channel and pass at least: one list call each stays under 100 a minute (placet.md §2)."""
RETRY: Final = 1.0
"""Seconds until refused resumptions are looked at again."""
LISTEN_AGAIN: Final = 60.0
"""Seconds after which the event channel is opened anew."""


class ResumeReviews(BaseModel):
    """What one run of the flow did, and what waits after it."""

    passes: int = 0
    decided: int = 0
    resumed: int = 0
    refused: int = 0
    """Resumptions that Prefect refused, most of them to be tried again."""
    put_again: int = 0
    withdrawn: int = 0
    waiting: int = 0
    """Questions that still wait."""
    calls: dict[str, int] = {}
    """Requests at Placet, by route."""
    troubles: list[str] = []
    """What could not be looked at, the last few."""

    @property
    def summary(self) -> str:
        """One line for the run's state."""
        return (
            f"{counted(self.decided, 'decision')} recorded, {counted(self.resumed, 'run')} resumed, "
            f"{counted(self.waiting, 'question')} waiting after {counted(self.passes, 'look')}"
        )


@dataclass(slots=True)
class _Desk:
    ledger: Ledger
    placet: PlacetClient
    pletor: PletorClient | None
    inbox: Inbox
    bell: asyncio.Event = field(default_factory=asyncio.Event)
    """Set where there may be something to look at."""
    decided: asyncio.Event = field(default_factory=asyncio.Event)
    """Set where there may be something to resume."""
    result: ResumeReviews = field(default_factory=ResumeReviews)
    calls: Counter[str] = field(default_factory=Counter)


@flow(name="resume-reviews", description=__doc__, validate_parameters=True)
async def resume_reviews(
    *,
    placet: str | PlacetCredentials | None = None,
    pletor: str | PletorCredentials | None = None,
    ledger: str | EffectLedger | None = None,
    watch_for: Annotated[float, Field(ge=0)] = 0.0,
    pace: Annotated[float, Field(gt=0)] = 5.0,
    hints: bool = True,
) -> ResumeReviews:
    """Look for decisions and resume what waits for them.

    Args:
        placet: Name of the Placet Credentials block. Empty: PLAIT_PLACET_URL and PLAIT_PLACET_API_KEY.
        pletor: Name of the Pletor Credentials block. Empty: the environment's PLAIT_PLETOR_* variables;
            without them, decisions that are taken in Pletor itself are not seen, and questions with
            pictures cannot be put again or escalated.
        ledger: Name of the Plait Effect Ledger block. Empty: PLAIT_LEDGER_URL, or ~/.plait/ledger.db.
        watch_for: Seconds to go on looking; 0 looks once.
        pace: Seconds between two looks while nothing happens.
        hints: Whether Placet's event channel may ask for a look in between.
    """
    credentials = await resolve(PlacetCredentials, placet)
    kept = await resolve(EffectLedger, ledger)
    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(kept.get_client())
        client = await stack.enter_async_context(credentials.get_client())
        vendor = await _pletor(stack, pletor)
        source = None if vendor is None else partial(fetch, vendor)
        desk = _Desk(opened, client, vendor, Inbox(opened, client, source))
        if hints and watch_for:
            await stack.enter_async_context(_listening(desk, credentials))
        await _serve(desk, watch_for, pace)
        desk.result.calls = dict(desk.calls)
        desk.result.waiting = await opened.ask(count_open_reviews)
        await _write_artifact(await opened.ask(partial(list_reviews, limit=ROW_LIMIT)))
    say(desk.result.summary)
    return cast("ResumeReviews", _completed(desk.result))


async def _serve(desk: _Desk, watch_for: float, pace: float) -> None:
    """Look at Placet until the time is over; a Prefect or Pletor that is slow delays no decision there."""
    end = time.monotonic() + watch_for
    beside = [
        asyncio.create_task(work) for work in (_watch_elsewhere(desk, end), _watch_decided(desk, end, pace))
    ]
    try:
        while True:
            began = time.monotonic()
            desk.bell.clear()
            found = await desk.inbox.work()
            _add(desk, found)
            if time.monotonic() >= end:
                break
            await asyncio.gather(*(task for task in beside if task.done()))  # an error ends the flow
            await _rest(desk, began, found, pace, end)
        await asyncio.gather(*beside)
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
    await _resume(desk)


async def _watch_decided(desk: _Desk, end: float, pace: float) -> None:
    """Resume what is decided, as soon as it is; what was refused is tried again."""
    while time.monotonic() < end:
        desk.decided.clear()
        refused = await _resume(desk)
        wait = min(pace, RETRY if refused else pace, max(0.0, end - time.monotonic()))
        with suppress(TimeoutError):
            await asyncio.wait_for(desk.decided.wait(), wait)


async def _watch_elsewhere(desk: _Desk, end: float) -> None:
    while True:
        began = time.monotonic()
        for look_at in (_withdraw_cancelled, _look_at_pletor):
            try:
                await look_at(desk)
            except HTTPError as error:
                _trouble(desk, f"Prefect: {error}")
            except PlaitError as error:
                _trouble(desk, str(error))
        if began + SLOW >= end:
            return
        await asyncio.sleep(began + SLOW - time.monotonic())


async def _resume(desk: _Desk) -> int:
    """Resume whose turn it is; gives how many were refused. A Prefect that is down is asked again."""
    try:
        resumed = await resume_decided(desk.ledger)
    except HTTPError as error:
        _trouble(desk, f"Prefect: {error}")
        return 0
    for one in resumed:
        if one.unclear:
            _trouble(desk, f"Prefect: {one.reason}")
    refused = sum(not one.accepted for one in resumed)
    desk.result.resumed += len(resumed) - refused
    desk.result.refused += refused
    return refused


async def _rest(desk: _Desk, began: float, found: Pass, pace: float, end: float) -> None:
    """Until the next look is due or somebody rings, but never so soon that Placet's limit is reached."""
    channels = max(1, found.calls.get("list_pending_reviews", 1))
    took = time.monotonic() - began
    least = max(GAP * channels - took, took, found.retry_after)
    await asyncio.sleep(max(0.0, min(least, end - time.monotonic())))
    with suppress(TimeoutError):
        await asyncio.wait_for(desk.bell.wait(), max(0.0, min(began + pace, end) - time.monotonic()))


async def _withdraw_cancelled(desk: _Desk) -> None:
    """Cancel at Pletor what was started for a cancelled run, then withdraw its question.

    In this order, so that a Pletor that does not answer, or refuses, is asked again at the next look. A run
    that Prefect does not know may be another server's: it is named, and left alone.
    """
    gone = await gone_runs(desk.ledger)
    if gone.unknown:
        few = ", ".join(gone.unknown[:FEW]) + (" and others" if len(gone.unknown) > FEW else "")
        many = counted(len(gone.unknown), "suspended run")
        _trouble(desk, f"{many} not known to this Prefect server: {few}")
    for view in await desk.ledger.ask(partial(find_reviews, review_ids=list(gone.cancelled))):
        subject = _subject(desk, view.subject)
        if desk.pletor is not None and subject is not None:
            try:
                await desk.pletor.cancel_run(subject.run_id)
            except NotFound:
                pass
            except PlaitError as error:
                if error.retryable:
                    raise
                _trouble(desk, f"Pletor run {subject.run_id}: {error}")
                continue
        await withdraw(desk.ledger, view.id, gone.cancelled[view.id])
        desk.result.withdrawn += 1
        desk.bell.set()


async def _look_at_pletor(desk: _Desk) -> None:
    """Decisions that were taken in Pletor itself."""
    if desk.pletor is None:
        return
    by_run: dict[str, list[str]] = {}
    for review_id, given in (await desk.ledger.ask(open_subjects)).items():
        if (subject := _subject(desk, given)) is not None:
            by_run.setdefault(subject.run_id, []).append(review_id)
    async for run in _runs(desk, desk.pletor, by_run):
        views = await desk.ledger.ask(partial(find_reviews, review_ids=by_run[run.id]))
        if decided := await look(desk.ledger, run, views):
            desk.result.decided += len(decided)
            desk.decided.set()
            desk.bell.set()


def _subject(desk: _Desk, given: Mapping[str, Any]) -> PletorSubject | None:
    """What a question is about, where that is a run at the Pletor that is asked here."""
    subject = PletorSubject.of(given)
    here = subject is not None and desk.pletor is not None and subject.account == desk.pletor.account
    return subject if here else None


async def _runs(desk: _Desk, client: PletorClient, wanted: Mapping[str, Any]) -> AsyncIterator[PletorRun]:
    """Those of these runs that Pletor gives; one that it refuses hides no other."""
    if len(wanted) <= ONE_BY_ONE:
        for run_id in wanted:
            try:
                run = await client.get_run(run_id)
            except PlaitError as error:
                if error.retryable:
                    raise
                _trouble(desk, f"Pletor run {run_id}: {error}")
            else:
                yield run
        return
    async for run in client.each_run():
        if run.id in wanted:
            yield run


async def _pletor(stack: AsyncExitStack, given: str | PletorCredentials | None) -> PletorClient | None:
    try:
        block = await resolve(PletorCredentials, given)
    except ConfigurationError as error:
        if given is not None:
            raise
        say(f"Pletor is left alone: {error.message}")
        return None
    return await stack.enter_async_context(block.get_client())


@asynccontextmanager
async def _listening(desk: _Desk, credentials: PlacetCredentials) -> AsyncIterator[None]:
    listener = asyncio.create_task(_listen(desk, credentials))
    try:
        yield
    finally:
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)


async def _listen(desk: _Desk, credentials: PlacetCredentials) -> None:
    """Ring the bell at every event. Without events, looks go on at their own pace."""
    key = credentials.api_key.get_secret_value()
    while True:
        channels = await desk.ledger.ask(partial(open_messages, account=desk.placet.base_url))
        try:
            async with (
                listen(credentials.base_url, key, list(channels)) as events,
                asyncio.timeout(LISTEN_AGAIN),  # by then there may be other channels
            ):
                async for _ in events:
                    desk.bell.set()
        except TimeoutError:
            continue
        except PlaitError as error:
            _trouble(desk, str(error))
        await asyncio.sleep(LISTEN_AGAIN)


def _add(desk: _Desk, found: Pass) -> None:
    desk.result.passes += 1
    desk.result.decided += len(found.decided)
    if found.decided:
        desk.decided.set()
    desk.result.put_again += found.put_again
    desk.calls.update(found.calls)
    for words in found.troubles:
        _trouble(desk, words)


def _trouble(desk: _Desk, words: str) -> None:
    short = one_line(words, 300)
    if short not in desk.result.troubles:
        say(f"Could not be looked at, and is tried again: {short}")
    desk.result.troubles = [*(one for one in desk.result.troubles if one != short), short][-10:]


async def _write_artifact(views: Iterable[ReviewView]) -> None:
    await acreate_table_artifact(
        [_row(view) for view in views],
        key="resume-reviews-waiting",
        description="Questions that wait, the oldest first",
    )


def _row(view: ReviewView) -> dict[str, str]:
    return {
        "review": escape_cell(view.id),
        "question": escape_cell(view.title, 200),
        "age": span(view.age),
        "left": "" if view.left is None else span(view.left),
        "at expiry": view.on_expiry,
        "why": escape_cell(view.note or "", 300),
    }


def _completed(result: ResumeReviews) -> State[ResumeReviews]:
    return Completed(message=result.summary, data=result)


if __name__ == "__main__":
    from flows._review_terminal import resume

    resume()
