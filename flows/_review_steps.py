"""The steps of `run_with_review` between its parameters and its results."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal, NamedTuple, Protocol, TypeVar

from blocks import PlacetCredentials, PletorCredentials
from flows._review_models import ReviewRecord, RunWithReview, Target, Wait
from flows._suspending import can_suspend, suspend_for
from plait.content.remark import escape_markdown
from plait.content.text import counted, one_line
from plait.http.errors import InvalidInput, NotFound, PlaitError
from plait.ledger.review_views import ReviewView, find_reviews, list_reviews
from plait.reviews import OnExpiry, ReviewOptions
from plait.reviews.at_pletor import PletorSubject
from plait.reviews.errors import ReviewExpired, ReviewWithdrawn
from plait.vendors.pletor.models import Phase, RunInput
from plait.vendors.pletor.models import Run as PletorRun
from tasks import Run
from tasks._progress import say
from tasks.placet import list_channels
from tasks.pletor import cancel_run, list_agents, list_apps
from tasks.pletor_runs import RunFailed, SavedFile, follow_run, save_results, start_run, upload_inputs
from tasks.reviews import (
    Acted,
    Asking,
    act_on_decisions,
    ask_reviews,
    close_thread,
    look_for_decisions,
    take_back,
    wait_for_decision,
)

MOST_REVIEWS: Final = 500
"""Questions of one run, after which something is wrong at the vendor."""
PAUSE: Final = 2.0
"""Seconds until a run that asks nothing more is looked at again."""


class Channels(NamedTuple):
    """Ids of the channels that are asked."""

    reviewers: str
    escalation: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """One Pletor run with people in the loop."""

    run: Run
    pletor: str | PletorCredentials | None
    placet: str | PlacetCredentials | None
    pletor_run: str
    target: Target
    channels: Channels
    title: str
    options: ReviewOptions
    expires_in: float
    on_expiry: OnExpiry
    max_rounds: int
    deadline: float
    wait: Wait

    @property
    def asking(self) -> Asking:
        """Who is asked, and how."""
        return Asking(
            channel_id=self.channels.reviewers,
            escalate_to=self.channels.escalation,
            title=self.title,
            agent=f"The {self.target.kind} {self.target.name} asks",
            options=self.options,
            expires_in=self.expires_in,
            on_expiry=self.on_expiry,
            max_rounds=self.max_rounds,
        )

    async def views(self) -> list[ReviewView]:
        """Every question of this Pletor run, oldest first."""
        listed = await self.run.ledger.ask(
            partial(list_reviews, which="all", run_key=self.run.key, limit=MOST_REVIEWS)
        )
        mine = [
            one.id
            for one in reversed(listed)
            if (about := PletorSubject.of(one.subject)) is not None and about.run_id == self.pletor_run
        ]
        return await self.run.ledger.ask(partial(find_reviews, review_ids=mine))


class _Named(Protocol):
    @property
    def id(self) -> str: ...


N = TypeVar("N", bound=_Named)


async def channel_of(
    placet: PlacetCredentials | str | None, wanted: str, escalation: str | None, on_expiry: OnExpiry
) -> Channels:
    """The channels of these names or ids. Raises `InvalidInput` where escalation has no channel."""
    if (on_expiry is OnExpiry.ESCALATE) != (escalation is not None):
        raise InvalidInput("on_expiry=escalate and escalation_channel belong together; give both or neither")
    channels = await list_channels(placet)
    names = {channel.id: channel.name for channel in channels}
    second = None if escalation is None else _one("Placet channel", channels, names, escalation).id
    first = _one("Placet channel", channels, names, wanted).id
    if first == second:
        raise InvalidInput(f"escalation_channel {escalation!r} is the reviewers' own channel; name another")
    return Channels(first, second)


async def target_of(pletor: PletorCredentials | str | None, agent: str | None, app: str | None) -> Target:
    """The agent or app of this name or id."""
    if (agent is None) == (app is None):
        raise InvalidInput("give an agent or an app, exactly one of them")
    if agent is not None:
        agents = await list_agents(pletor)
        names = {one.id: one.name or one.id for one in agents}
        found = _one("Pletor agent", agents, names, agent)
        return Target(kind="agent", id=found.id, name=names[found.id])
    apps = await list_apps(pletor)
    names = {one.id: one.name or one.id for one in apps}
    chosen = _one("Pletor app", apps, names, app or "")
    return Target(kind="app", id=chosen.id, name=names[chosen.id])


async def begin(
    pletor: PletorCredentials | str | None,
    target: Target,
    texts: Mapping[str, str],
    files: Mapping[str, Sequence[str]],
    generation: int,
) -> PletorRun:
    """Upload the files and start the run, once per run key and generation."""
    paths = _paths(files)
    inputs = [RunInput.text(name, text) for name, text in texts.items()]
    if paths:
        inputs += await upload_inputs(pletor, paths, generation=generation)
    started = await start_run(pletor, target.id, inputs, is_app=target.is_app, generation=generation)
    say(f"Started {target.kind} {one_line(target.name, 100)}: run {started.id}")
    return started


def _paths(files: Mapping[str, Sequence[str]]) -> dict[str, list[Path]]:
    return {name: [Path(path).expanduser() for path in given] for name, given in files.items()}


async def rounds(review: Review) -> PletorRun | None:
    """Ask, wait and act until the run has ended; None where it ends here, with questions that wait."""
    handled: list[str] = []
    while True:
        run = await follow_run(
            review.pletor,
            review.pletor_run,
            is_app=review.target.is_app,
            handled=handled,
            deadline=review.deadline,
        )
        if run.ended:
            ids = [view.id for view in await review.views()]
            acted = await act_on_decisions(review.placet, review.pletor, run.id, ids) if ids else []
            if run.phase is Phase.DEAD:
                await _stop_where_nobody_decided(review, acted, run)
            return run
        asked = await ask_reviews(review.placet, review.pletor, run.id, review.asking, handled=handled)
        if not asked:
            await asyncio.sleep(PAUSE)  # resolved in Pletor since the run was looked at
        elif not await _decided(review, asked, handled):
            return None
        acted = await act_on_decisions(review.placet, review.pletor, run.id, asked) if asked else []
        await _stop_where_nobody_decided(review, acted, run)
        handled = await _handled(review)


async def _decided(review: Review, asked: Sequence[str], handled: Sequence[str]) -> bool:
    """Wait for one of these; False where this run ends instead of waiting."""
    if review.wait is Wait.HOLD:
        await wait_for_decision(review.placet, review.pletor, review.pletor_run, asked, handled=handled)
        return True
    await look_for_decisions(review.placet, review.pletor, review.pletor_run, asked)
    views = await review.run.ledger.ask(partial(find_reviews, review_ids=list(asked)))
    if not all(view.waits for view in views):
        return True
    if not can_suspend():
        return False
    await suspend_for(review.run, views)
    return True


async def _handled(review: Review) -> list[str]:
    """Pletor's ids of the reviews that are brought to their end."""
    done = [view for view in await review.views() if view.state == "used"]
    if len(done) >= MOST_REVIEWS:
        raise RunFailed(f"run {review.pletor_run} has asked {len(done)} times; look at it in Pletor")
    return [PletorSubject.model_validate(view.subject).review_id for view in done]


async def _stop_where_nobody_decided(review: Review, acted: Sequence[Acted], run: PletorRun) -> None:
    for one in acted:
        if one.became in {"failed", "withdrawn"}:
            if not run.ended:
                await cancel_run(review.pletor, run.id)
            error: ReviewExpired | ReviewWithdrawn = (
                ReviewExpired(f"{one.review_id} expired: {one.outcome}; the Pletor run was canceled")
                if one.became == "failed"
                else ReviewWithdrawn(f"{one.review_id} was withdrawn: {one.outcome}; the run was canceled")
            )
            open_still = [view.id for view in await review.views() if view.waits]
            if open_still:
                reason = f"its run was ended by {one.review_id}"
                await take_back(review.placet, run.id, open_still, reason)
            await _tell(review, f"{error.message}.", "error")
            raise error


async def conclude(review: Review, ended: PletorRun | None, generation: int, folder: Path) -> RunWithReview:
    """What came of it: results saved and checked, the thread closed. Raises `RunFailed`."""
    views = await review.views()
    result = RunWithReview(
        status="waiting" if ended is None else "completed",
        run_key=review.run.key,
        generation=generation,
        target=review.target,
        run_id=review.pletor_run,
        channel_id=review.channels.reviewers,
        reviews=[_record(view) for view in views],
    )
    if ended is None:
        return result
    if ended.phase is Phase.DEAD:
        if not any(view.state == "used" and view.decision["decision"] == "reject" for view in views):
            await _tell(review, f"The run failed: {ended.failure or ended.status}.", "error")
            raise RunFailed(
                f"run {ended.id} is {ended.status}: {ended.failure or 'Pletor does not say why'}. Its key "
                f"stays used; generation={generation + 1} starts another one",
                system="pletor",
            )
        result.status = "rejected"
        await _tell(review, f"The run ended: {result.summary}.", "error")
        return result
    result.files = await save_results(
        review.pletor, ended.id, ended.asset_ids, folder, shown=_approved(views)
    )
    result.texts = ended.texts
    await _tell(review, _finished(result.files, result.texts), "success")
    return result


async def _tell(review: Review, text: str, status: Literal["success", "error"]) -> None:
    """Close the thread in Placet, if anybody was asked there. That it is down loses no result."""
    if not await review.views():
        return
    heading = f"**{escape_markdown(one_line(review.title))}**\n\n{escape_markdown(one_line(text, 2000))}"
    try:
        await close_thread(review.placet, review.pletor_run, review.channels.reviewers, heading, status)
    except PlaitError as error:
        if not error.retryable:
            raise
        say(f"Placet could not be told how it ended: {error}", logging.WARNING)


def _finished(files: Sequence[SavedFile], texts: Sequence[str]) -> str:
    return f"Done: {counted(len(files), 'file')} and {counted(len(texts), 'text')}, saved and checked."


def _approved(views: Sequence[ReviewView]) -> dict[str, str]:
    """Digests of what people were shown."""
    return {file["source"]["asset_id"]: file["sha256"] for view in views for file in view.question["files"]}


def _record(view: ReviewView) -> ReviewRecord:
    decision = view.decision or {}
    return ReviewRecord(
        review_id=view.id,
        title=view.question["prompt"],
        round=view.question["context"],
        digest=view.digest,
        decision=decision.get("decision", ""),
        selected=list(decision.get("selected", [])),
        text=decision.get("text"),
        by=view.decided_by,
        why=view.decided_why,
        through=view.decided_through,
        decided_at=view.decided_at,
        outcome=view.outcome,
        answers=len(view.answers),
    )


def _one(what: str, offered: Sequence[N], names: Mapping[str, str], wanted: str) -> N:
    """The one of this id or name. Raises `NotFound` or `InvalidInput`, and names those there are."""
    matches = [one for one in offered if one.id == wanted]
    matches = matches or [one for one in offered if names[one.id].casefold() == wanted.strip().casefold()]
    offer = ", ".join(repr(name) for name in names.values()) or "none"
    if not matches:
        raise NotFound(f"this key sees no {what} {wanted!r}; it sees: {offer}")
    if len(matches) > 1:
        ids = ", ".join(one.id for one in matches)
        raise InvalidInput(f"{len(matches)} {what}s are named {wanted!r}; give the id of one: {ids}")
    return matches[0]
