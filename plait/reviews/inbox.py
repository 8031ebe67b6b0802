"""Putting questions in Placet, and reading what became of them.

One list call a channel tells which of its messages still wait, however many there are. Only what has
left that list is read: one by one where that is cheaper, else by pages of the channel's messages.
"""

import math
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

from sqlalchemy import Connection

from plait.content.text import one_line
from plait.http import sha256_of
from plait.http.errors import (
    DeadlineExceeded,
    InvalidInput,
    NotFound,
    NotSent,
    PermissionDenied,
    PlaitError,
    RateLimited,
    ServerFailed,
    ValidationFailed,
)
from plait.ledger import Ledger
from plait.ledger.review_views import (
    MessageView,
    OpenMessage,
    ReviewView,
    due_reviews,
    find_reviews,
    open_messages,
    show_review,
    unacknowledged_messages,
)
from plait.ledger.store import reviews as store
from plait.ledger.tables import AnswerStanding, ReviewState, Through
from plait.reviews.decision import at_expiry
from plait.reviews.question import OnExpiry, Question, ShownFile, duration
from plait.reviews.seen import Seen, answered_by, closed_by, digest_of_message, has_secrets, is_over
from plait.vendors.placet.client import PAGE_LIMIT, PlacetClient
from plait.vendors.placet.models import Message, MessageContent
from plait.vendors.placet.operations import POST_MESSAGE
from plait.vendors.placet.recovery import PostMessage, StoreFile

ASKED_AT_MOST: Final = 4
"""Messages of one question in all; then it waits for Prefect, the vendor, or its expiry."""
WORTH_ASKING: Final = 60.0
"""Seconds of a question's time for which it is put again where Placet closed its message before."""
ONE_BY_ONE: Final = 20
"""So many messages are read singly without a second thought."""
BATCH: Final = 200
"""Answers recorded in one transaction."""

R = TypeVar("R")

PASSING: Final = (NotSent, ServerFailed, RateLimited, DeadlineExceeded)
"""Failures of a look that time may heal."""
CLOSED: Final = frozenset({ReviewState.USED, ReviewState.WITHDRAWN})

FileSource: TypeAlias = Callable[[ShownFile, Path], Awaitable[None]]
"""Writes a shown file's bytes to a path."""


@dataclass(slots=True)
class Pass:
    """What one look found."""

    decided: list[str] = field(default_factory=list)
    """Reviews that have their decision since."""
    kept: int = 0
    """Answers that were kept as evidence."""
    put_again: int = 0
    troubles: list[str] = field(default_factory=list)
    """What could not be looked at, in words."""
    retry_after: float = 0.0
    """Seconds that Placet asks to stay away."""
    waiting: int = 0
    """Messages that still wait for an answer."""
    calls: dict[str, int] = field(default_factory=dict)
    """Requests made at Placet, by route: each has a limit of its own."""

    def called(self, route: str) -> None:
        """Count one request."""
        self.calls[route] = self.calls.get(route, 0) + 1


class Inbox:
    """The reviews of one ledger at one Placet.

    Args:
        ledger: an open ledger.
        client: an open client.
        files: where shown files come from when a question is put again; None leaves it as it is.
    """

    def __init__(self, ledger: Ledger, client: PlacetClient, files: FileSource | None = None) -> None:
        self._ledger = ledger
        self._client = client
        self._files = files

    @property
    def account(self) -> str:
        """The Placet whose messages are looked at."""
        return self._client.base_url

    # ------------------------------------------------------------ asking

    async def ask(
        self,
        question: Question,
        *,
        review_id: str,
        env: str,
        run_key: str,
        subject: Any,
        channel_id: str,
        escalate_to: str | None = None,
    ) -> ReviewView:
        """Record a question, once for its id; `post` puts it. A question that is there stays as it is."""
        recorded = store.Question(
            id=review_id,
            env=env,
            run_key=run_key,
            subject=subject,
            title=question.title,
            question=question.model_dump(mode="json"),
            digest=question.digest,
            expires_in=question.expires_in,
            on_expiry=question.on_expiry,
            escalate_to=escalate_to,
        )
        place = store.Place(
            account=self.account, channel_id=channel_id, lifetime=max(1, math.ceil(question.expires_in))
        )
        await self._write(lambda connection: store.ask(self._ledger.database, connection, recorded, place))
        return await self.show(review_id)

    async def show(self, review_id: str) -> ReviewView:
        """A review as it stands."""
        return await self._ledger.ask(partial(show_review, review_id=review_id))

    async def post(self, view: ReviewView, n: int, files: FileSource | None = None) -> None:
        """Post one message of a question with its files: once, whoever does it and however often.

        Raises as the effects do, and `InvalidInput` where a file is not what the question shows.
        """
        message = view.messages[n]
        if message.message_id is not None:
            return
        question = Question.model_validate(view.question)
        effects = self._ledger.effects(run_key=view.run_key, env=view.env)
        step = f"{view.id}/{n}"
        with tempfile.TemporaryDirectory(prefix="plait-review-") as folder:
            attached = []
            for number, file in enumerate(question.files):
                path = Path(folder) / str(number) / file.name
                path.parent.mkdir()
                await self._fetch(file, path, files)
                recipe = StoreFile(self._client, message.channel_id, path)
                attached.append((await effects.perform(recipe, step=f"{step}/{number}")).id)
        content = MessageContent(
            text=question.message(view.id, message.reason),
            review=question.request(message.lifetime),
            metadata={"plait": {"review": view.id, "digest": view.digest}},
            attachment_ids=tuple(attached),
        )
        made = await effects.perform(PostMessage(self._client, message.channel_id, content), step=step)
        await self._write(
            lambda connection: store.posted(
                self._ledger.database,
                connection,
                view.id,
                n,
                message_id=made.id,
                shown=digest_of_message(made),
                at=made.created_at.timestamp(),
            )
        )

    async def _fetch(self, file: ShownFile, path: Path, files: FileSource | None) -> None:
        source = files or self._files
        if source is None:
            raise InvalidInput(
                f"{file.name} cannot be fetched here: its system's credentials are missing. Give them to "
                "resume_reviews, or run again what asked"
            )
        await source(file, path)
        if await sha256_of(path) != file.sha256:
            raise InvalidInput(f"{file.name} is not what was to be shown: its content has changed")

    # ------------------------------------------------------------ looking

    async def work(self, only: Iterable[str] | None = None) -> Pass:
        """Look once at all that is open (or at these reviews): answers, expiry, questions to put again.

        What cannot be looked at is left as it is: a review expires only after a look that began when its
        time was over and saw no answer.
        """
        wanted = None if only is None else list(only)
        found, began = Pass(), await self._ledger.now()
        unclear: set[str] = set()
        places = await self._ledger.ask(partial(open_messages, account=self.account, only=wanted))
        for channel_id, messages in places.items():
            unclear |= await self._look_at(channel_id, messages, found)
        await self._expire(began, wanted, unclear, found)
        await self._put_again(wanted, found)
        if wanted is None:
            await self._acknowledge_late(found)
        return found

    async def _look_at(self, channel_id: str, messages: Sequence[OpenMessage], found: Pass) -> set[str]:
        """Record what left the list of the waiting; gives the reviews that could not be looked at."""
        posted = {one.message_id: one for one in messages if one.message_id is not None}
        try:
            found.called("list_pending_reviews")
            pending = {message.id for message in await self._client.list_pending_reviews(channel_id)}
            found.waiting += len(pending & posted.keys())
            left = {message_id: one for message_id, one in posted.items() if message_id not in pending}
            unclear = await self._read(channel_id, left, len(posted), found)
            for message_id, one in posted.items():
                if message_id in pending and one.state in CLOSED:
                    await self._retract(one.review_id, one.n, channel_id, message_id)
        except PlaitError as error:
            found.troubles.append(str(error))
            found.retry_after = max(found.retry_after, error.retry_after or 0.0)
            return {one.review_id for one in posted.values()}
        return unclear

    async def _read(
        self, channel_id: str, left: dict[str, OpenMessage], posted: int, found: Pass
    ) -> set[str]:
        """Read what waits no more; gives the reviews whose message is not to be seen yet."""
        if len(left) > max(ONE_BY_ONE, 2 * posted / PAGE_LIMIT):
            await self._read_pages(channel_id, left, found)
        unclear = set()
        for message_id, one in left.items():
            found.called("get_review")
            seen = Seen(one, await self._read_one(channel_id, message_id))
            if seen.message is not None or await self._is_gone(one):
                await self._record([seen], found)
            else:
                unclear.add(one.review_id)
        return unclear

    async def _is_gone(self, message: OpenMessage) -> bool:
        """Whether a message that is not there was there: a fresh one may not be shown yet."""
        shown_from = (message.posted_at or 0.0) + self._ledger.timing.visibility(POST_MESSAGE)
        return await self._ledger.now() > shown_from

    async def _read_one(self, channel_id: str, message_id: str) -> Message | None:
        try:
            return await self._client.get_review(channel_id, message_id)
        except NotFound:
            return None

    async def _read_pages(self, channel_id: str, left: dict[str, OpenMessage], found: Pass) -> None:
        """Newest first, until all are met; these leave `left`. What a page redacts or does not show stays."""
        cursor: str | None = None
        while left:
            found.called("list_messages")
            page = await self._client.list_messages(channel_id, cursor=cursor)
            met = [message for message in page.data if message.id in left and not has_secrets(message)]
            await self._record([Seen(left[message.id], message) for message in met], found)
            for message in met:
                del left[message.id]
            if page.next_cursor is None or page.next_cursor == cursor or not page.data:
                return
            cursor = page.next_cursor

    # ------------------------------------------------------------ recording

    async def _record(self, seen: Sequence[Seen], found: Pass) -> None:
        for start in range(0, len(seen), BATCH):
            some = [one for one in seen[start : start + BATCH] if is_over(one)]
            if not some:
                continue
            views = await self._ledger.ask(
                partial(find_reviews, review_ids=[one.open.review_id for one in some])
            )
            by_id = {view.id: view for view in views}
            given = [(one, by_id[one.open.review_id]) for one in some]
            answers = [(one, view, answered_by(view, one)) for one, view in given]
            standings = await self._write(partial(self._write_answers, answers=answers))
            for (_, view, _), standing in zip(answers, standings, strict=True):
                if standing is AnswerStanding.DECIDED:
                    found.decided.append(view.id)
                elif standing is not None:
                    found.kept += 1

    def _write_answers(
        self, connection: Connection, answers: Sequence[tuple[Seen, ReviewView, store.Answered | None]]
    ) -> list[AnswerStanding | None]:
        made: list[AnswerStanding | None] = []
        db = self._ledger.database
        for seen, view, given in answers:
            standing = None if given is None else store.answer(db, connection, view.id, given)
            made.append(standing)
            store.close_message(db, connection, view.id, seen.open.n, by=closed_by(seen))
            reason = given.why if given is not None and standing is AnswerStanding.UNUSABLE else None
            if closed_by(seen) == "expired" and (view.left or 0.0) > WORTH_ASKING:
                reason = "Placet had closed it too early"
            if reason is not None and view.waits:
                store.ask_again(
                    db,
                    connection,
                    view.id,
                    after=seen.open.n,
                    place=self._same_place(view, view.messages[seen.open.n]),
                    reason=reason,
                    limit=ASKED_AT_MOST,
                )
        return made

    @staticmethod
    def _same_place(view: ReviewView, message: MessageView) -> store.Place:
        left = view.expires_in if view.left is None else view.left
        return store.Place(
            account=message.account, channel_id=message.channel_id, lifetime=max(1, math.ceil(left))
        )

    # ------------------------------------------------------------ expiry and what follows

    async def _expire(self, began: float, wanted: list[str] | None, unclear: set[str], found: Pass) -> None:
        due = await self._ledger.database.read(lambda connection: due_reviews(connection, began, wanted))
        for start in range(0, len(due), BATCH):
            views = await self._ledger.ask(partial(find_reviews, review_ids=due[start : start + BATCH]))
            for view in views:
                if view.id in unclear:
                    note = "its time is over, but Placet could not be asked whether somebody answered"
                    await self._write(partial(store.explain, review_id=view.id, note=note))
                elif any(message.account == self.account for message in view.messages):
                    await self._decide_by_rule(view, found)

    async def _decide_by_rule(self, view: ReviewView, found: Pass) -> None:
        rule = OnExpiry(view.on_expiry)
        db = self._ledger.database
        if rule is OnExpiry.ESCALATE and view.level == 0 and view.escalate_to is not None:
            place = store.Place(
                account=self.account, channel_id=view.escalate_to, lifetime=math.ceil(view.expires_in)
            )
            reason = f"nobody decided within {duration(view.expires_in)}"
            await self._write(
                lambda connection: store.escalate(db, connection, view.id, place=place, reason=reason)
            )
            return
        decision, why = at_expiry(Question.model_validate(view.question), rule)
        given = store.Answered(
            nonce=f"expiry/{view.level}",
            through=Through.EXPIRY,
            by=f"the rule for expiry, {rule}",
            said=decision.model_dump(mode="json"),
            why=why,
            digest=view.digest,
        )
        if await self.answer(view.id, given) is AnswerStanding.DECIDED:
            found.decided.append(view.id)

    async def answer(self, review_id: str, given: store.Answered) -> AnswerStanding:
        """Record an answer that was given somewhere else than in Placet."""
        return await self._write(
            lambda connection: store.answer(self._ledger.database, connection, review_id, given)
        )

    async def _put_again(self, wanted: list[str] | None, found: Pass) -> None:
        """Post what is to be put again or escalated. What cannot be posted now is tried at the next pass."""
        places = await self._ledger.ask(partial(open_messages, account=self.account, only=wanted))
        missing = [
            one for listed in places.values() for one in listed if one.message_id is None and one.n > 0
        ]
        for one in missing:
            view = await self.show(one.review_id)
            if not view.waits:
                await self._close(view.id, one.n, "left")
                continue
            try:
                await self.post(view, one.n)
                found.put_again += 1
            except PlaitError as error:
                found.troubles.append(f"{view.id} could not be put again: {error}")
                channel_id = view.messages[one.n].channel_id
                note = one_line(f"cannot be put in {channel_id} as yet: {error.message}", 300)
                await self._write(partial(store.explain, review_id=view.id, note=note))

    async def close(self, review_id: str) -> None:
        """A decision is there: retract messages that still ask, and acknowledge those that were answered.

        An answer that came in between is kept as evidence first. What Placet cannot do now, a later pass
        over everything does, such as those of `resume_reviews`.
        """
        found = await self.work([review_id])
        view = await self.show(review_id)
        try:
            for message in view.messages:
                if message.account != self.account or message.message_id is None:
                    continue
                if message.closed_at is None and not found.troubles:
                    await self._retract(view.id, message.n, message.channel_id, message.message_id)
                elif message.closed_by == "answered" and message.acknowledged_at is None:
                    await self._acknowledge(view.id, message.n, message.channel_id, message.message_id)
        except PASSING as error:
            note = one_line(f"its messages could not be closed: {error.message}", 300)
            await self._write(partial(store.explain, review_id=view.id, note=note))

    async def _retract(self, review_id: str, n: int, channel_id: str, message_id: str) -> None:
        try:
            await self._client.delete_message(channel_id, message_id)
        except NotFound:
            await self._close(review_id, n, "deleted")
        except ValidationFailed as error:
            await self._close(review_id, n, "left")
            note = one_line(f"message {message_id} could not be retracted: {error.message}", 300)
            await self._write(partial(store.explain, review_id=review_id, note=note))
        else:
            await self._close(review_id, n, "retracted")

    async def _acknowledge(self, review_id: str, n: int, channel_id: str, message_id: str) -> None:
        with suppress(NotFound, PermissionDenied):  # message or channel is gone: the ledger has the answer
            await self._client.ack_message(channel_id, message_id)
        await self._write(partial(store.acknowledged, self._ledger.database, review_id=review_id, n=n))

    async def _acknowledge_late(self, found: Pass) -> None:
        """Acknowledge what could not be when its question was closed, a few at a time."""
        late = await self._ledger.ask(partial(unacknowledged_messages, account=self.account))
        try:
            for one in late:
                found.called("ack_message")
                await self._acknowledge(one.review_id, one.n, one.channel_id, one.message_id)
        except PlaitError as error:
            found.troubles.append(f"an answer could not be acknowledged: {error}")
            found.retry_after = max(found.retry_after, error.retry_after or 0.0)

    async def _close(self, review_id: str, n: int, by: str) -> None:
        await self._write(
            lambda connection: store.close_message(self._ledger.database, connection, review_id, n, by=by)
        )

    async def _write(self, work: Callable[[Connection], R]) -> R:
        return await self._ledger.database.write(work, commit="record")
