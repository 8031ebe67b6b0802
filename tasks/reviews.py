"""Reviews as tasks: ask, wait, act. Each is one task run, however long people take."""

import asyncio
import tempfile
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final, Literal

from prefect import task
from pydantic import BaseModel

from blocks import PlacetCredentials, PletorCredentials
from plait.content.text import counted, one_line
from plait.http.errors import PlaitError
from plait.ledger.review_views import ReviewView, find_review, find_reviews, list_reviews
from plait.ledger.store import reviews as store
from plait.ledger.tables import ReviewState
from plait.reviews import Inbox, OnExpiry, ReviewOptions, ShownFile
from plait.reviews.at_pletor import (
    PletorSubject,
    Terms,
    asset_file,
    bring,
    content_of,
    fetch,
    look,
    question_of,
    review_id_of,
    same_step,
    shown_files,
)
from plait.reviews.inbox import CLOSED, PASSING
from plait.vendors.placet.client import LONGEST_WAIT, PlacetClient
from plait.vendors.placet.models import Message, MessageContent
from plait.vendors.placet.recovery import PostMessage
from plait.vendors.pletor.client import PletorClient
from plait.vendors.pletor.models import PendingReview
from tasks._declare import OPTIONS
from tasks._pace import Pace
from tasks._pictures import show_picture
from tasks._progress import say
from tasks._run import Run, current_run

LOOK: Final = 0.5
"""Seconds between two looks into the ledger."""
INBOX_PACE: Final = (2.0, 15.0)
"""Shortest and longest pause between two looks into the inbox, where several messages wait."""
PLETOR_PACE: Final = (3.0, 15.0)
LONG_POLL: Final = LONGEST_WAIT - 5
LATE_LISTS: Final = (0.5, 1.0)
"""Seconds between the looks at a run whose list of reviews is late."""
MANY: Final = 10_000
"""Reviews of one run key that are looked through for earlier rounds."""


class Asking(BaseModel):
    """Who is asked, and how."""

    channel_id: str
    escalate_to: str | None = None
    """Another channel's id."""
    title: str
    agent: str
    """Who asks, in words."""
    options: ReviewOptions = ReviewOptions()
    expires_in: float
    """Seconds."""
    on_expiry: OnExpiry = OnExpiry.FAIL
    max_rounds: int
    """Proposals a person sees at most; the last one cannot be made anew."""


class Acted(BaseModel):
    """What became of a review."""

    review_id: str
    became: Literal["brought", "changed", "ended", "failed", "withdrawn"]
    """`failed`: nobody decided in time. `changed`: it was about something else; ask anew. `ended`: another
    question ended the run."""
    outcome: str


@dataclass(frozen=True, slots=True)
class _Both:
    run: Run
    placet: PlacetClient
    pletor: PletorClient
    inbox: Inbox

    async def views(self, review_ids: Sequence[str]) -> list[ReviewView]:
        return await self.run.ledger.ask(partial(find_reviews, review_ids=list(review_ids)))


@task(name="reviews.ask", task_run_name="ask about {run_id}", **OPTIONS)
async def ask_reviews(
    placet: PlacetCredentials | str | None,
    pletor: PletorCredentials | str | None,
    run_id: str,
    asking: Asking,
    *,
    handled: Sequence[str] = (),
) -> list[str]:
    """Put each review that a Pletor run waits for to people, once: gives the ids of its open questions.

    A question whose review is not listed just now is among them: the list may be late.

    Args:
        placet: A block, its name, or None for the environment.
        pletor: The same.
        run_id: The run.
        asking: Who is asked, and how.
        handled: Ids of Pletor's reviews that are dealt with.
    """
    async with current_run() as run:
        both = await _both(run, placet, pletor)
        due = await _due(both.pletor, run_id, handled)
        asked = [await _ask(both, run_id, pending, asking) for pending in due]
        others = [view.id for view in await _of_run(run, run_id) if view.waits and view.id not in asked]
        return [*asked, *others]


@task(name="reviews.wait", task_run_name="wait for a decision on {run_id}", **OPTIONS)
async def wait_for_decision(
    placet: PlacetCredentials | str | None,
    pletor: PletorCredentials | str | None,
    run_id: str,
    review_ids: Sequence[str],
    *,
    handled: Sequence[str] = (),
) -> None:
    """Return once one of these reviews is decided, or the Pletor run does or asks something else.

    Decisions are taken from Placet, from Pletor, and from whatever else writes them into the ledger.
    Failing looks are repeated, for as long as it takes.

    Args:
        placet: A block, its name, or None for the environment.
        pletor: The same.
        run_id: The run.
        review_ids: Ids of the questions.
        handled: Ids of Pletor's reviews that are dealt with: a server that lags may still list them.
    """
    async with current_run() as run:
        both = await _both(run, placet, pletor)
        await _first(
            _watch_ledger(both, review_ids),
            _watch_placet(both, review_ids),
            _watch_pletor(both, run_id, review_ids, handled),
        )


@task(name="reviews.look", task_run_name="look for decisions about {run_id}", **OPTIONS)
async def look_for_decisions(
    placet: PlacetCredentials | str | None,
    pletor: PletorCredentials | str | None,
    run_id: str,
    review_ids: Sequence[str],
) -> None:
    """Look once at Placet and Pletor, and record what was decided there. Waits for nobody."""
    async with current_run() as run:
        both = await _both(run, placet, pletor)
        found = await both.inbox.work(review_ids)
        if found.troubles:
            say(f"Placet could not be asked: {one_line(found.troubles[0], 200)}")
        await look(run.ledger, await both.pletor.get_run(run_id), await both.views(review_ids))


@task(name="reviews.act", task_run_name="act on decisions about {run_id}", **OPTIONS)
async def act_on_decisions(
    placet: PlacetCredentials | str | None,
    pletor: PletorCredentials | str | None,
    run_id: str,
    review_ids: Sequence[str],
) -> list[Acted]:
    """Bring each decision to Pletor, once, and close its messages; gives what came of those decided."""
    async with current_run() as run:
        both = await _both(run, placet, pletor)
        views = await both.views(review_ids)
        if any(view.waits for view in views):
            await look(run.ledger, await both.pletor.get_run(run_id), views)
            views = await both.views(review_ids)
        return [await _act(both, view) for view in views if not view.waits]


@task(name="reviews.take_back", task_run_name="take back what is asked about {run_id}", **OPTIONS)
async def take_back(
    placet: PlacetCredentials | str | None, run_id: str, review_ids: Sequence[str], reason: str
) -> None:
    """Withdraw questions of a Pletor run that another question has ended, and retract their messages."""
    del run_id  # names the task run
    async with current_run() as run:
        client = await run.client(PlacetCredentials, PlacetCredentials.get_client, placet)
        inbox = Inbox(run.ledger, client)
        for review_id in review_ids:
            await _withdraw(run, review_id, reason=reason, outcome="ended")
            await inbox.close(review_id)


@task(name="reviews.close_thread", task_run_name="close the thread", **OPTIONS)
async def close_thread(
    placet: PlacetCredentials | str | None,
    run_id: str,
    channel_id: str,
    text: str,
    status: Literal["success", "error"],
) -> Message:
    """Tell the channel how a Pletor run ended, once."""
    async with current_run() as run:
        client = await run.client(PlacetCredentials, PlacetCredentials.get_client, placet)
        content = MessageContent(text=text, status=status)
        recipe = PostMessage(client, channel_id, content)
        return await run.effects().perform(recipe, step=f"close the thread of {run_id}")


async def _both(
    run: Run, placet: PlacetCredentials | str | None, pletor: PletorCredentials | str | None
) -> _Both:
    there = await run.client(PletorCredentials, PletorCredentials.get_client, pletor)
    inbox = await run.client(PlacetCredentials, PlacetCredentials.get_client, placet)
    return _Both(run, inbox, there, Inbox(run.ledger, inbox, partial(fetch, there)))


# ------------------------------------------------------------ asking


async def _due(client: PletorClient, run_id: str, handled: Sequence[str]) -> list[PendingReview]:
    """What the run asks. It is known to ask something, so that a look that finds nothing is repeated."""
    for pause in (*LATE_LISTS, None):
        due = [one for one in (await client.get_run(run_id)).due_reviews if one.id not in handled]
        if due or pause is None:
            break
        await asyncio.sleep(pause)
    return due


async def _ask(both: _Both, run_id: str, pending: PendingReview, asking: Asking) -> str:
    subject = PletorSubject(account=both.pletor.account, run_id=run_id, review_id=pending.id)
    content = await content_of(both.pletor, pending)
    review_id, view = await _question(both.run, subject, content)
    await _supersede(both, subject, review_id)
    if view is not None and not (view.waits and view.messages[0].message_id is None):
        return review_id
    with tempfile.TemporaryDirectory(prefix="plait-review-") as name:
        folder = Path(name)
        files = await shown_files(both.pletor, pending, folder)
        if view is None:
            terms = await _terms(both.run, subject, pending, asking)
            view = await both.inbox.ask(
                question_of(pending, content, files, terms),
                review_id=review_id,
                env=both.run.env,
                run_key=both.run.key,
                subject=subject.model_dump(),
                channel_id=asking.channel_id,
                escalate_to=asking.escalate_to,
            )

        for number, file in enumerate(files, 1):
            await show_picture(
                folder / asset_file(file.source["asset_id"]),
                file.media_type,
                key=f"review-option-{number}",
                description=f"{file.name} of {one_line(view.title, 100)} ({view.id})",
            )

        async def downloaded(file: ShownFile, path: Path) -> None:
            await asyncio.to_thread((folder / asset_file(file.source["asset_id"])).replace, path)

        await both.inbox.post(view, 0, downloaded)
    say(f"Asked in Placet: {one_line(view.title, 100)} ({review_id})")
    return review_id


async def _question(run: Run, subject: PletorSubject, content: Any) -> tuple[str, ReviewView | None]:
    """The question about this content: the first that was not void because Pletor asked something else."""
    for occurrence in count():
        review_id = review_id_of(run.env, run.key, subject, content, occurrence)
        view = await run.ledger.ask(partial(find_review, review_id=review_id))
        if view is None or view.state is not ReviewState.WITHDRAWN or view.outcome != "changed":
            break
    return review_id, view


async def _supersede(both: _Both, subject: PletorSubject, review_id: str) -> None:
    """What was asked about the same review with other content is no longer the question."""
    for view in await _of_run(both.run, subject.run_id):
        if PletorSubject.of(view.subject) != subject or view.id == review_id or view.state in CLOSED:
            continue
        await _withdraw(both.run, view.id, reason="Pletor asks something else by now", outcome="changed")
        await both.inbox.close(view.id)


async def _of_run(run: Run, run_id: str) -> list[ReviewView]:
    """Every question of this run key about one Pletor run."""
    listed = await run.ledger.ask(partial(list_reviews, which="all", run_key=run.key, limit=MANY))
    return [one for one in listed if (about := PletorSubject.of(one.subject)) and about.run_id == run_id]


async def _terms(run: Run, subject: PletorSubject, pending: PendingReview, asking: Asking) -> Terms:
    """How many rounds there were is counted before a question is recorded, and never changes it later."""
    rounds = 1 + sum(
        one.decision["decision"] == "regenerate"
        for one in await _of_run(run, subject.run_id)
        if one.decision is not None
        and one.state is not ReviewState.WITHDRAWN
        and same_step(pending, one.question["content"])
    )
    options = asking.options
    if rounds >= asking.max_rounds:
        options = options.model_copy(update={"regenerate": False})
    return Terms(
        title=asking.title,
        context=f"{asking.agent}, round {rounds} of at most {max(rounds, asking.max_rounds)}",
        options=options,
        expires_in=asking.expires_in,
        on_expiry=asking.on_expiry,
    )


# ------------------------------------------------------------ waiting


async def _first(*watchers: Coroutine[Any, Any, None]) -> None:
    """Until the first watcher has seen something; the others are ended."""
    running = [asyncio.ensure_future(watcher) for watcher in watchers]
    try:
        done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for watcher in running:
            watcher.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    for watcher in done:
        watcher.result()


async def _watch_ledger(both: _Both, review_ids: Sequence[str]) -> None:
    while True:
        if not all(view.waits for view in await both.views(review_ids)):
            return
        await asyncio.sleep(LOOK)


async def _watch_placet(both: _Both, review_ids: Sequence[str]) -> None:
    pace, troubled = Pace(*INBOX_PACE), False
    while True:
        found = await both.inbox.work(review_ids)
        if found.troubles and not troubled:
            say(f"Placet could not be asked, and is asked again: {one_line(found.troubles[0], 200)}")
        troubled = bool(found.troubles)
        if found.kept or found.put_again:
            kept, again = counted(found.kept, "answer"), counted(found.put_again, "question")
            say(f"{kept} decided nothing; {again} put again")
            pace.reset()
        pause = pace.pause(found.retry_after)
        if troubled:
            await asyncio.sleep(pause)
        else:
            await _ring(both, review_ids, pause)


async def _ring(both: _Both, review_ids: Sequence[str], pause: float) -> None:
    """Wait for a look to be worth its while: the one message is answered, or time has passed."""
    views = await both.views(review_ids)
    left = min([view.left for view in views if view.waits and view.left is not None], default=pause)
    places = [
        (message.channel_id, message.message_id)
        for view in views
        for message in view.messages
        if view.waits and message.closed_at is None and message.message_id is not None
    ]
    if len(places) == 1 and left > 1:
        try:
            await both.placet.wait_for_review(*places[0], min(left, LONG_POLL))
        except PlaitError:
            await asyncio.sleep(pause)  # the look that follows says what is wrong
    else:
        await asyncio.sleep(min(pause, max(left, LOOK)))


async def _watch_pletor(both: _Both, run_id: str, review_ids: Sequence[str], handled: Sequence[str]) -> None:
    pace = Pace(*PLETOR_PACE)
    while True:
        retry_after = None
        try:
            run = await both.pletor.get_run(run_id)
        except PASSING as error:
            retry_after = error.retry_after
        else:
            views = await both.views(review_ids)
            if await look(both.run.ledger, run, views) or run.ended:
                return
            asked = {about.review_id for view in views if (about := PletorSubject.of(view.subject))}
            known = asked.union(handled)
            if any(one.id not in known for one in run.due_reviews):
                return
        await asyncio.sleep(pace.pause(retry_after))


# ------------------------------------------------------------ acting


async def _act(both: _Both, view: ReviewView) -> Acted:
    if view.state is ReviewState.WITHDRAWN:
        await both.inbox.close(view.id)
        became = view.outcome if view.outcome in {"changed", "ended"} else "withdrawn"
        return Acted.model_validate({"review_id": view.id, "became": became, "outcome": view.note or ""})
    failed = view.decision["decision"] == "fail"
    if view.state is ReviewState.USED:
        return Acted(review_id=view.id, became="failed" if failed else "brought", outcome=view.outcome or "")
    outcome = view.decided_why or "nobody decided in time"
    if not failed:
        subject = PletorSubject.model_validate(view.subject)
        brought = await bring(both.run.ledger, both.run.effects(), both.pletor, view, subject)
        outcome = brought.outcome
        if brought.changed:
            await _withdraw(both.run, view.id, reason=outcome, outcome="changed")
            await both.inbox.close(view.id)
            return Acted(review_id=view.id, became="changed", outcome=outcome)
    await both.inbox.close(view.id)
    await both.run.ledger.database.write(
        lambda connection: store.use(both.run.ledger.database, connection, view.id, outcome=outcome),
        commit="record",
    )
    say(f"{_words(view)}; {outcome}")
    return Acted(review_id=view.id, became="failed" if failed else "brought", outcome=outcome)


async def _withdraw(run: Run, review_id: str, *, reason: str, outcome: str) -> None:
    await run.ledger.database.write(
        lambda connection: store.withdraw(
            run.ledger.database, connection, review_id, reason=reason, outcome=outcome
        ),
        commit="record",
    )


def _words(view: ReviewView) -> str:
    return f"Decided by {view.decided_by}: {view.decision['decision']}"
