"""Reviews of the Placet stand-in: waiting, answering, expiring (placet.md §3.5, §3.7, §4.2)."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from starlette.responses import Response

from plait.http.operation import Effect, Operation, Source
from plait.sandbox.context import SandboxContext
from plait.sandbox.placet_push import Push
from plait.sandbox.placet_store import (
    PENDING,
    StoredChannel,
    StoredMessage,
    StoredReview,
    files_of,
    find_messages,
    moment,
    shown_channel,
    shown_message,
)
from plait.sandbox.placet_wire import Call, answer, listed_channel, owned_message, refuse
from plait.sandbox.store import Transaction

RESPOND: Final = Operation(
    system="placet",
    name="respond",
    method="POST",
    path="/api/messages/{message_id}/respond",
    effect=Effect.KEYED,
    source=Source.VENDOR,
    reference="placet.md §3.7",
    recovery="The first answer wins; the human side is no part of the agent's API.",
)
"""A person's answer, counted as an effect of its own."""


@dataclass(frozen=True, slots=True)
class Given:
    """What a person answers."""

    response: dict[str, Any]
    feedback: str | None = None
    modified_file_ids: dict[str, str] | None = None


class Reviews:
    """The endpoints, the answers of people, and the sweep."""

    def __init__(self, context: SandboxContext, push: Push) -> None:
        self._context = context
        self._settings = context.settings.placet
        self._strict = self._settings.missing_channel == "strict"
        self._push = push
        self._sweeping: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Start the sweep."""
        self._sweeping = asyncio.get_running_loop().create_task(self._sweep_for_ever())

    async def aclose(self) -> None:
        """End the sweep."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)

    async def pending(self, call: Call) -> Response:
        """By stored status: an overdue review stays until something expires it."""

        def work(transaction: Transaction) -> list[dict[str, Any]]:
            channel = listed_channel(transaction, call)
            found = find_messages(transaction, f"parent = ? AND {PENDING}", (channel.id,))
            return [shown_message(message, files_of(transaction, message)) for message in found]

        return answer(await self._context.store.transact(work))

    async def get(self, call: Call) -> Response:
        """One review, with its message."""

        def work(transaction: Transaction) -> dict[str, Any]:
            message, _ = self._reviewed(transaction, call)
            return shown_message(message, files_of(transaction, message))

        return answer(await self._context.store.transact(work))

    def _reviewed(self, transaction: Transaction, call: Call) -> tuple[StoredMessage, StoredReview]:
        message, _ = owned_message(transaction, call, call.parameter("message_id"), strict=self._strict)
        if message.review is None:
            refuse(404, "No review on this message")
        return message, message.review

    async def wait(self, call: Call) -> Response:
        """Look now and every 2 s until the review is closed, at most 30 s (placet.md §3.5)."""
        settings, clock = self._settings, self._context.clock
        end = clock.now() + min(_timeout(call.query("timeout"), settings.wait_cap), settings.wait_cap)
        message, review = await self._context.store.transact(lambda t: self._reviewed(t, call))
        while True:
            if review.status == "pending" and review.expires_at <= self._context.now():
                review = await self._expire_silently(message.id) or review
            if review.status != "pending":
                shown = await self._context.store.transact(lambda t: self._whole(t, message.id))
                return answer({"status": review.status, "message": shown})
            if clock.now() >= end:
                return answer({"status": "timeout"})
            await clock.sleep(settings.wait_step)
            found = await self._context.store.get(StoredMessage, message.id)
            # A message deleted meanwhile runs into the timeout.
            review = found.review if found is not None and found.review is not None else review

    def _whole(self, transaction: Transaction, message_id: str) -> dict[str, Any] | None:
        message = transaction.get(StoredMessage, message_id)
        if message is None:
            return None
        return shown_message(message, files_of(transaction, message), texts=self._context.settings.files)

    async def _expire_silently(self, message_id: str) -> StoredReview | None:
        """A waiter closes an overdue review, and nobody is told (placet.md §4.2)."""

        def work(transaction: Transaction) -> StoredReview | None:
            message = transaction.get(StoredMessage, message_id)
            return None if message is None else _expire(transaction, message)

        return await self._context.store.transact(work)

    # ------------------------------------------------------------ people

    async def respond(self, message_id: str, given: Given) -> dict[str, Any]:
        """A person's answer: the first one wins, and the clock is not looked at (placet.md §3.7)."""
        now = self._context.now()

        def work(transaction: Transaction) -> tuple[StoredMessage, StoredChannel, dict[str, Any]]:
            message = transaction.get(StoredMessage, message_id)
            if message is None:
                refuse(404, "Message not found")
            if message.review is None:
                refuse(404, "No review on this message")
            if message.review.status != "pending":
                refuse(403, "Review already responded")
            review = message.review.model_copy(
                update={
                    "status": "completed",
                    "response": given.response,
                    "feedback": given.feedback or message.review.feedback,
                    "modified_file_ids": given.modified_file_ids or message.review.modified_file_ids,
                    "completed_at": now,
                }
            )
            answered = message.model_copy(update={"review": review, "updated_at": now})
            transaction.put(answered)
            transaction.record(RESPOND, entity_id=message.id, marker=message.id)
            channel = transaction.get(StoredChannel, message.parent)
            if channel is None:
                refuse(404, "Agent not found")
            return answered, channel, shown_message(answered, files_of(transaction, answered))

        message, channel, shown = await self._context.store.transact(work)
        agent = shown_channel(channel, secrets_too=True)
        await self._push.emit(channel.id, "review:responded", {**shown, "agent": agent})
        self._push.dispatch(channel, message, _responded(message), mark=True)
        return shown

    async def tell_again(self, message_id: str) -> None:
        """A person has the webhook called once more, with the same body (placet.md §5.2)."""

        def work(transaction: Transaction) -> tuple[StoredMessage, StoredChannel]:
            message = transaction.get(StoredMessage, message_id)
            channel = None if message is None else transaction.get(StoredChannel, message.parent)
            if message is None or channel is None:
                refuse(404, "Message not found")
            if message.review is None or message.review.status != "completed":
                refuse(400, "There is no answer to tell")
            return message, channel

        message, channel = await self._context.store.transact(work)
        self._push.dispatch(channel, message, _responded(message), mark=True)

    # ------------------------------------------------------------ sweep

    async def _sweep_for_ever(self) -> None:
        while True:
            await self._context.clock.sleep(self._settings.sweep)
            await self.sweep()

    async def sweep(self) -> None:
        """Expire what is overdue, and abort drafts that nobody touched (placet.md §4.2, §4.3)."""
        now = self._context.now()
        stale = now - timedelta(seconds=self._settings.stale_draft)

        def work(
            transaction: Transaction,
        ) -> tuple[list[tuple[StoredMessage, StoredChannel]], list[dict[str, Any]]]:
            overdue = [m for m in find_messages(transaction, PENDING) if _overdue(m, now)]
            expired = []
            for message in overdue:
                channel = transaction.get(StoredChannel, message.parent)
                _expire(transaction, message)
                expired += [(message, channel)] if channel is not None else []
            drafts = find_messages(transaction, "json_extract(data, '$.stream_state') = 'streaming'")
            aborted = []
            for draft in (draft for draft in drafts if draft.updated_at < stale):
                changed = draft.model_copy(update={"stream_state": "aborted", "updated_at": now})
                transaction.put(changed)
                aborted.append(shown_message(changed, files_of(transaction, changed)))
            return expired, aborted

        expired, aborted = await self._context.store.transact(work)
        for message, channel in expired:
            await self._push.emit(channel.id, "review:expired", {"messageId": message.id})
            self._push.dispatch(channel, message, _expired(message, now), mark=False)
        for shown in aborted:
            await self._push.emit(shown["channelId"], "message:updated", shown)


def _overdue(message: StoredMessage, now: datetime) -> bool:
    return message.review is not None and message.review.expires_at <= now


def _expire(transaction: Transaction, message: StoredMessage) -> StoredReview | None:
    if message.review is None or message.review.status != "pending":
        return message.review
    review = message.review.model_copy(update={"status": "expired"})
    transaction.put(message.model_copy(update={"review": review}))
    return review


def _timeout(given: str | None, otherwise: float) -> float:
    """Seconds; whatever cannot be read, or is not positive, means the whole time (placet.md §3.5)."""
    try:
        seconds = float(given or "") / 1000
    except ValueError:
        return otherwise
    return seconds if seconds > 0 else otherwise


def _responded(message: StoredMessage) -> Mapping[str, Any]:
    review = message.review
    if review is None:
        return {}
    body = {
        "event": "review:responded",
        "channelId": message.parent,
        "message_id": message.id,
        "review_type": review.type,
        "response": review.response,
        "responded_at": moment(review.completed_at),
        "feedback": review.feedback,
        "modifiedFileIds": review.modified_file_ids,
        "iterationGroupId": message.iteration_group_id,
        "iteration": message.iteration,
    }
    return {name: value for name, value in body.items() if value is not None}


def _expired(message: StoredMessage, now: datetime) -> Mapping[str, Any]:
    return {
        "event": "review:expired",
        "channelId": message.parent,
        "message_id": message.id,
        "review_type": message.review.type if message.review is not None else None,
        "expired_at": moment(now),
    }
