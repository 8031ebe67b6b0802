"""Messages of the Placet stand-in: post, stream, list, read, delete, ack, iterations (placet.md §3)."""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, model_validator
from pydantic.alias_generators import to_camel
from starlette.responses import Response

from plait.sandbox.context import SandboxContext
from plait.sandbox.placet_push import Push
from plait.sandbox.placet_store import (
    StoredChannel,
    StoredFile,
    StoredKey,
    StoredMessage,
    StoredReview,
    files_of,
    find_messages,
    key_id,
    new_id,
    shown_message,
)
from plait.sandbox.placet_wire import (
    Call,
    answer,
    listed_channel,
    owned_channel,
    owned_message,
    refuse,
)
from plait.sandbox.store import Transaction
from plait.vendors.placet.operations import (
    ACK_MESSAGE,
    DELETE_MESSAGE,
    POST_MESSAGE,
    UPDATE_STREAM,
)

T = TypeVar("T")
DEFAULT_EXPIRY: Final = timedelta(hours=24)
LONGEST_EXPIRY: Final = timedelta(hours=36)
DEFAULT_PAGE: Final = 50
LONGEST_PAGE: Final = 100

StreamState = Literal["streaming", "complete", "aborted"]
Name = Annotated[str, Field(min_length=1)]


class Body(BaseModel):
    """Unknown fields are stripped without a word (placet.md §2)."""

    model_config = ConfigDict(extra="ignore", alias_generator=to_camel, populate_by_name=True, strict=True)


class CallbackBody(Body):
    """Where the answer goes if nothing else is named."""

    url: str
    method: str | None = None
    headers: dict[str, str] | None = None


class ReviewBody(Body):
    """A review; its type may be any string, its payload any object."""

    type: str
    payload: dict[str, Any] | None = None
    expires_in_seconds: int | None = Field(default=None, gt=0)
    expires_at: str | None = None
    callback: CallbackBody | None = None
    feedback: str | None = None
    modified_file_ids: dict[str, str] | None = None


class TextBody(Body):
    """A text that is stored as a file and attached."""

    content: Name
    filename: str = "content.md"
    mime_type: str = "text/markdown"


class MessageBody(Body):
    """The body of `POST /messages`."""

    channel_id: Name
    text: str | None = None
    status: Literal["info", "success", "warning", "error"] | None = None
    review: ReviewBody | None = None
    metadata: dict[str, Any] | None = None
    webhook_url: str | None = None
    attachment_ids: list[str] = []
    text_attachments: list[TextBody] = []
    iteration_of: str | None = None
    client_id: str | None = None
    stream_id: str | None = None
    stream_state: StreamState | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "MessageBody":
        parts = (self.text, self.review, self.status, self.attachment_ids, self.text_attachments)
        if not any(parts):
            raise ValueError("empty")
        if self.webhook_url is not None:
            HttpUrl(self.webhook_url)
        return self


class StreamBody(Body):
    """The body of `PATCH /messages/streams/:streamId`."""

    channel_id: Name
    text: str
    complete: bool = False
    stream_state: StreamState | None = None


@dataclass(frozen=True, slots=True)
class Posted:
    """What came of a post; `replayed` says that nothing was made."""

    message: StoredMessage
    files: list[StoredFile]
    channel: StoredChannel
    replayed: bool


class Messages:
    """The endpoints."""

    def __init__(self, context: SandboxContext, push: Push) -> None:
        self._context = context
        self._settings = context.settings.placet
        self._strict = self._settings.missing_channel == "strict"
        self._push = push
        self._folder = context.settings.files
        self._link_failures = self._settings.link_failures

    async def post(self, call: Call) -> Response:
        """Make a message, or give the one back that stands under the same key."""
        body = call.read(MessageBody)
        if self._settings.old_server:
            body = body.model_copy(update={"client_id": None})
        texts = [(new_id(), text) for text in body.text_attachments]
        now = self._context.now()
        linking = not (body.attachment_ids and self._take_link_failure())
        racing = self._settings.race_seconds > 0

        def work(transaction: Transaction) -> Posted:
            return _post(transaction, call.user, body, now, texts, linking=linking, racing=racing)

        posted = await self._standing(call, body, now) if racing else None
        posted = posted or await self._write_texts(texts, work)
        shown = shown_message(posted.message, posted.files, texts=self._folder)
        if not posted.replayed:
            data = {**shown, "agentName": posted.channel.name}
            await self._push.emit(posted.channel.id, "message:created", data)
        return answer(shown, 201)

    async def _standing(self, call: Call, body: MessageBody, now: datetime) -> Posted | None:
        """What stands under the key, looked at some time before the insert: a twin may slip through."""

        def look(transaction: Transaction) -> Posted | None:
            channel = owned_channel(transaction, call.user, body.channel_id)
            known = _known(transaction, body, now)
            return (
                None if known is None else Posted(known, files_of(transaction, known), channel, replayed=True)
            )

        standing = await self._context.store.transact(look)
        if standing is None:
            await self._context.clock.sleep(self._settings.race_seconds)
        return standing

    def _take_link_failure(self) -> bool:
        if self._link_failures <= 0:
            return False
        self._link_failures -= 1
        return True

    async def _write_texts(
        self, texts: list[tuple[str, TextBody]], work: Callable[[Transaction], Posted]
    ) -> Posted:
        """Text attachments are on disk before their message is (placet.md §3.1)."""
        for file_id, text in texts:
            path = self._folder / f"placet-{file_id}"
            await asyncio.to_thread(path.write_text, text.content, "utf-8")
        return await self._context.store.transact(work)

    async def update_stream(self, call: Call) -> Response:
        """Replace a draft's text, in any state (placet.md §5.1)."""
        body, stream_id = call.read(StreamBody), call.parameter("stream_id")
        now = self._context.now()

        def work(transaction: Transaction) -> Posted:
            channel = owned_channel(transaction, call.user, body.channel_id)
            message = by_key(transaction, "stream", channel.id, stream_id)
            if message is None:
                refuse(404, "No streaming draft for this (channelId, streamId)")
            state = "complete" if body.complete else message.stream_state
            state = "aborted" if body.stream_state == "aborted" else state
            changed = message.model_copy(update={"text": body.text, "stream_state": state, "updated_at": now})
            transaction.put(changed)
            transaction.record(UPDATE_STREAM, entity_id=message.id, marker=stream_id, external_key=stream_id)
            return Posted(changed, files_of(transaction, changed), channel, replayed=False)

        done = await self._context.store.transact(work)
        shown = shown_message(done.message, done.files, texts=self._folder)
        data = {**shown, "agentName": done.channel.name}
        await self._push.emit(done.channel.id, "message:updated", data)
        return answer(shown)

    async def list_all(self, call: Call) -> Response:
        """A page, newest first; the only place where passwords are hidden (placet.md §3.3)."""
        limit = _page_size(call.query("limit"))

        def work(transaction: Transaction) -> dict[str, Any]:
            channel = listed_channel(transaction, call)
            where, arguments = _page_filter(call, channel.id)
            found = find_messages(transaction, where, arguments, limit=limit)
            data = [
                {
                    **shown_message(message, files_of(transaction, message), redacted=True),
                    "statusEvents": [],
                }
                for message in found
            ]
            return {"data": data, "nextCursor": found[-1].id if found and len(found) == limit else None}

        return answer(await self._context.store.transact(work))

    async def get(self, call: Call) -> Response:
        """One message, as it is."""
        return answer(await self._context.store.transact(lambda t: self._shown(t, call)))

    def _shown(self, transaction: Transaction, call: Call) -> dict[str, Any]:
        message, _ = owned_message(transaction, call, call.parameter("message_id"), strict=self._strict)
        return shown_message(message, files_of(transaction, message))

    async def delete(self, call: Call) -> Response:
        """Delete a message, its keys and its files; no event tells of it (placet.md §3.4)."""

        def work(transaction: Transaction) -> list[StoredFile]:
            message, _ = owned_message(transaction, call, call.parameter("message_id"), strict=self._strict)
            return delete_message(transaction, message)

        for file in await self._context.store.transact(work):
            await asyncio.to_thread(file.path(self._folder).unlink, missing_ok=True)
        return answer({"deleted": True})

    async def ack(self, call: Call) -> Response:
        """Received by the agent, whatever was before (placet.md §4.4)."""

        def work(transaction: Transaction) -> StoredMessage:
            message, _ = owned_message(transaction, call, call.parameter("message_id"), strict=self._strict)
            transaction.put(message.model_copy(update={"delivery_status": "agent_received"}))
            transaction.record(ACK_MESSAGE, entity_id=message.id, marker=message.id)
            return message

        message = await self._context.store.transact(work)
        data = {"messageId": message.id, "deliveryStatus": "agent_received"}
        await self._push.emit(message.parent, "message:delivery", data)
        return answer({"acknowledged": True})

    async def iterations(self, call: Call) -> Response:
        """The chain of any of its members (placet.md §3.8)."""

        def work(transaction: Transaction) -> dict[str, Any]:
            message, _ = owned_message(transaction, call, call.parameter("message_id"), strict=self._strict)
            chain = [message]
            if message.iteration_group_id is not None:
                chain = _group(transaction, message.parent, message.iteration_group_id)
            shown = [shown_message(each, files_of(transaction, each)) for each in chain]
            return {"groupId": message.iteration_group_id or message.id, "iterations": shown}

        return answer(await self._context.store.transact(work))


def by_key(transaction: Transaction, word: str, channel_id: str, key: str) -> StoredMessage | None:
    """The message that stands under a key of a channel."""
    found = transaction.get(StoredKey, key_id(word, channel_id, key))
    return None if found is None else transaction.get(StoredMessage, found.parent)


def delete_message(transaction: Transaction, message: StoredMessage) -> list[StoredFile]:
    """Delete one message; gives the files whose bytes are to go."""
    group = message.iteration_group_id
    if group is not None and len(_group(transaction, message.parent, group)) > 1:
        refuse(400, "Cannot delete a message that is part of an iteration chain with other messages")
    files = files_of(transaction, message)
    for file in files:
        transaction.delete(StoredFile, file.id)
    for word, key in (("client", message.client_id), ("stream", message.stream_id)):
        if key is not None:
            transaction.delete(StoredKey, key_id(word, message.parent, key))
    transaction.delete(StoredMessage, message.id)
    transaction.record(DELETE_MESSAGE, entity_id=message.id, marker=message.id)
    return files


def _post(
    transaction: Transaction,
    user: str,
    body: MessageBody,
    now: datetime,
    texts: list[tuple[str, TextBody]],
    *,
    linking: bool,
    racing: bool,
) -> Posted:
    """The vendor's order: ownership, clientId, streamId, iteration, expiry, create, link (placet.md §3.1)."""
    channel = owned_channel(transaction, user, body.channel_id)
    if racing:  # looked for some time ago; only the streamId has a unique index
        if body.stream_id and by_key(transaction, "stream", channel.id, body.stream_id) is not None:
            refuse(500, "Internal server error")
    elif (known := _known(transaction, body, now)) is not None:
        return Posted(known, files_of(transaction, known), channel, replayed=True)
    group, number = _iteration(transaction, body, channel.id)
    message = _new_message(body, channel.id, now).model_copy(
        update={"iteration_group_id": group, "iteration": number}
    )
    files = [_stored_text(file_id, text, message, now) for file_id, text in texts]
    if linking:
        files = [*_link(transaction, body.attachment_ids, message), *files]
    for file in files:
        transaction.put(file)
    message = message.model_copy(update={"file_ids": [file.id for file in files]})
    transaction.put(message)
    for word, key in (("client", message.client_id), ("stream", message.stream_id)):
        if key is not None:
            identity = key_id(word, channel.id, key)
            transaction.put(StoredKey(id=identity, parent=message.id, created_at=now))
    marker = hashlib.sha256(message.text.encode()).hexdigest() if message.text else message.id
    transaction.record(POST_MESSAGE, entity_id=message.id, marker=marker, external_key=message.stream_id)
    return Posted(message, files, channel, replayed=False)


def _known(transaction: Transaction, body: MessageBody, now: datetime) -> StoredMessage | None:
    """The row of an earlier post with the same key, untouched; only an abort changes it (placet.md §5.1)."""
    for word, key in (("client", body.client_id), ("stream", body.stream_id)):
        message = by_key(transaction, word, body.channel_id, key) if key else None
        if message is None:
            continue
        if body.stream_state == "aborted" and message.stream_state == "streaming":
            message = message.model_copy(
                update={"text": body.text, "stream_state": "aborted", "updated_at": now}
            )
            transaction.put(message)
        return message
    return None


def _iteration(transaction: Transaction, body: MessageBody, channel_id: str) -> tuple[str | None, int | None]:
    """The group and the number of a new round; the first one is numbered when the second is made."""
    if body.iteration_of is None:
        return None, None
    target = transaction.get(StoredMessage, body.iteration_of)
    if target is None or target.parent != channel_id:
        refuse(400, "iterationOf target does not exist in this channel")
    if target.review is None or target.review.status not in {"completed", "expired"}:
        refuse(400, "iterationOf target must have a completed or expired review")
    if target.iteration_group_id is None:
        target = target.model_copy(update={"iteration_group_id": target.id, "iteration": 1})
        transaction.put(target)
    group = target.iteration_group_id or target.id
    numbers = [message.iteration or 1 for message in _group(transaction, channel_id, group)]
    return group, max(numbers) + 1


def _group(transaction: Transaction, channel_id: str, group: str) -> list[StoredMessage]:
    where = "parent = ? AND json_extract(data, '$.iteration_group_id') = ?"
    found = find_messages(transaction, where, (channel_id, group))
    return sorted(found, key=lambda message: message.iteration or 0)


def _new_message(body: MessageBody, channel_id: str, now: datetime) -> StoredMessage:
    metadata = dict(body.metadata or {})
    if body.webhook_url is not None:
        metadata["webhookUrl"] = body.webhook_url
    if body.review is not None and body.review.type == "freeform":
        plugin = (body.review.payload or {}).get("plugin")
        metadata |= {"plugin": plugin} if isinstance(plugin, str) else {}
    return StoredMessage(
        id=new_id(),
        parent=channel_id,
        created_at=now,
        updated_at=now,
        sender_id=channel_id,
        text=body.text,
        status=body.status,
        review=None if body.review is None else _new_review(body.review, now),
        metadata=metadata or None,
        webhook_url=body.webhook_url,
        client_id=body.client_id,
        stream_id=body.stream_id,
        stream_state=body.stream_state,
    )


def _new_review(body: ReviewBody, now: datetime) -> StoredReview:
    """Pending, and to expire after 24 hours if nothing is said, 36 at most (placet.md §4.2)."""
    expires = now + DEFAULT_EXPIRY
    if body.expires_in_seconds is not None:
        expires = now + min(timedelta(seconds=min(body.expires_in_seconds, 10**9)), LONGEST_EXPIRY)
    elif body.expires_at is not None:
        try:
            expires = datetime.fromisoformat(body.expires_at)
        except ValueError:
            refuse(400, "expiresAt must be a valid ISO date string")
        expires = min(expires.replace(tzinfo=expires.tzinfo or now.tzinfo), now + LONGEST_EXPIRY)
    if expires <= now:
        refuse(400, "Review expiration must be in the future")
    callback = body.callback.model_dump(exclude_none=True) if body.callback is not None else None
    return StoredReview(
        type=body.type,
        payload=body.payload,
        expires_at=expires,
        callback=callback,
        feedback=body.feedback,
        modified_file_ids=body.modified_file_ids,
    )


def _link(transaction: Transaction, file_ids: list[str], message: StoredMessage) -> list[StoredFile]:
    """Stored, unattached files of the channel; all others are ignored without a word."""
    found = (transaction.get(StoredFile, file_id) for file_id in dict.fromkeys(file_ids))
    return [
        file.model_copy(update={"message_id": message.id})
        for file in found
        if file is not None and file.parent == message.parent and file.message_id is None
    ]


def _stored_text(file_id: str, text: TextBody, message: StoredMessage, now: datetime) -> StoredFile:
    return StoredFile(
        id=file_id,
        parent=message.parent,
        created_at=now,
        message_id=message.id,
        filename=text.filename,
        mime_type=text.mime_type,
        size=len(text.content.encode()),
    )


def _page_size(given: str | None) -> int:
    """50 where nothing is said, at most 100; what is no number is a 500 (placet.md §3.3 [inferred])."""
    if given is None:
        return DEFAULT_PAGE
    if not given.isascii() or not given.isdigit():
        refuse(500, "Internal server error")
    return min(int(given), LONGEST_PAGE)


def _page_filter(call: Call, channel_id: str) -> tuple[str, list[Any]]:
    """The rows of a page. A cursor that is gone gives none."""
    where, arguments = ["parent = ?"], [channel_id]
    if (cursor := call.query("cursor")) is not None:
        where.append("seq < (SELECT seq FROM entity WHERE kind = 'placet.message' AND id = ?)")
        arguments.append(cursor)
    if (words := call.query("search")) is not None:
        where.append("instr(lower(coalesce(json_extract(data, '$.text'), '')), lower(?)) > 0")
        arguments.append(words)
    if call.query("has_attachments") == "true":
        where.append("json_array_length(data, '$.file_ids') > 0")
    return " AND ".join(where), arguments
