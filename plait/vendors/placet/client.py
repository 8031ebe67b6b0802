"""Placet as typed calls (placet.md §3)."""

import asyncio
import mimetypes
import unicodedata
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from plait.http import Answer, Downloaded, Transport, Upload
from plait.http.errors import InvalidInput, MalformedResponse, NotFound
from plait.http.operation import Operation
from plait.vendors.placet import operations
from plait.vendors.placet.models import (
    Acknowledged,
    Attachment,
    Channel,
    ChannelRequest,
    ChannelStatus,
    IterationChain,
    Message,
    MessageContent,
    MessagePage,
    Plugin,
    StreamState,
    WaitResult,
    WebhookAuth,
)

LONGEST_WAIT: Final = 30.0
"""Seconds that one long-poll may take (placet.md §3.5)."""
PAGE_LIMIT: Final = 100
"""Messages of a page; the server shortens more without a word (placet.md §3.3)."""
_LONGEST_STATUS: Final = 500
_LONGEST_KEY: Final = 500


class PlacetClient:
    """One method per operation. Every method raises the errors of `plait.http.errors`.

    A channel is always named, even where the server would do without: it would then look across
    all channels of the key (placet.md §2).

    Args:
        transport: made for the server's root, with `x-api-key`; closed with the client.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @property
    def base_url(self) -> str:
        """The server's address, without secrets."""
        return self._transport.base_url

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.__aexit__(kind, error, trace)

    # ------------------------------------------------------------ messages

    async def post_message(
        self,
        channel_id: str,
        content: MessageContent,
        *,
        key: str | None = None,
        stream_state: StreamState | None = None,
    ) -> Message:
        """Post a message, with a review or without (placet.md §3.1).

        With a `key`, sent as `streamId` and `clientId`, the same key twice gives the stored message
        back, whatever the second one says. Without one, two calls are two messages.

        Raises:
            InvalidInput: the message would be empty.
        """
        body = {"channelId": channel_id, **content.body()}
        if not body.keys() & {"text", "review", "status", "attachmentIds", "textAttachments"}:
            raise InvalidInput("the message is empty; give it a text, a status, a review or a file")
        if key is not None:
            body |= {"streamId": checked_key(key), "clientId": key}
        if stream_state is not None:
            body["streamState"] = stream_state
        return (await self._transport.call(operations.POST_MESSAGE, json=body)).read(Message)

    async def update_stream(
        self,
        channel_id: str,
        stream_id: str,
        text: str,
        *,
        complete: bool = False,
        state: StreamState | None = None,
    ) -> Message:
        """Replace the whole text of a draft (placet.md §5.1); `plait.vendors.placet.stream` keeps the order.

        Never repeated by the transport: a late copy would overwrite newer text.
        """
        body: dict[str, Any] = {"channelId": channel_id, "text": text}
        body |= {"complete": True} if complete else {}
        body |= {"streamState": state} if state is not None else {}
        path = {"stream_id": checked_key(stream_id)}
        return (await self._transport.call(operations.UPDATE_STREAM, path=path, json=body)).read(Message)

    async def list_messages(
        self,
        channel_id: str,
        *,
        limit: int = PAGE_LIMIT,
        cursor: str | None = None,
        search: str | None = None,
        has_attachments: bool = False,
    ) -> MessagePage:
        """One page, newest first (placet.md §3.3). Password answers are redacted here, and only here.

        A cursor whose message was deleted gives an empty page; `iterate_messages` is the whole list.
        """
        if not 1 <= limit <= PAGE_LIMIT:
            raise InvalidInput(f"limit is {limit}; the server gives 1 to {PAGE_LIMIT} messages a page")
        query = {
            "channel": channel_id,
            "limit": limit,
            "cursor": cursor,
            "search": search or None,
            "has_attachments": "true" if has_attachments else None,
        }
        return (await self._transport.call(operations.LIST_MESSAGES, query=query)).read(MessagePage)

    async def iterate_messages(
        self, channel_id: str, *, search: str | None = None, has_attachments: bool = False
    ) -> AsyncIterator[Message]:
        """Every message of a channel, newest first, each once.

        Raises:
            MalformedResponse: a page's cursor was deleted meanwhile, so the rest cannot be read; ask again.
        """
        cursor, seen = None, set[str]()
        while True:
            page = await self.list_messages(
                channel_id, cursor=cursor, search=search, has_attachments=has_attachments
            )
            if cursor is not None and not page.data:
                await self._check_cursor(channel_id, cursor)
            for message in page.data:
                if message.id not in seen:
                    seen.add(message.id)
                    yield message
            if page.next_cursor is None or page.next_cursor == cursor:
                return
            cursor = page.next_cursor

    async def _check_cursor(self, channel_id: str, cursor: str) -> None:
        """Tell an empty last page from one whose cursor is gone (placet.md §3.3)."""
        try:
            await self.get_message(channel_id, cursor)
        except NotFound as error:
            raise MalformedResponse(
                f"message {cursor!r} was deleted while channel {channel_id!r} was being read, so the rest "
                "of the list is missing; read it again",
                system=operations.SYSTEM,
                operation=operations.LIST_MESSAGES.name,
            ) from error

    async def get_message(self, channel_id: str, message_id: str) -> Message:
        """One message (placet.md §3 no. 4)."""
        return await self._message(operations.GET_MESSAGE, channel_id, message_id)

    async def delete_message(self, channel_id: str, message_id: str) -> None:
        """Retract a message, with a pending review and its files (placet.md §3.4).

        Raises:
            NotFound: it was not there at the first try; after a lost answer 404 means deleted.
            ValidationFailed: it is part of a chain of iterations.
        """
        path, query = {"message_id": message_id}, {"channel": channel_id}
        await self._gone(operations.DELETE_MESSAGE, path, query)

    async def ack_message(self, channel_id: str, message_id: str) -> Acknowledged:
        """Say that we have received and handled a message (placet.md §3 no. 6)."""
        path, query = {"message_id": message_id}, {"channel": channel_id}
        answer = await self._transport.call(operations.ACK_MESSAGE, path=path, query=query)
        return answer.read(Acknowledged)

    async def list_iterations(self, channel_id: str, message_id: str) -> IterationChain:
        """All rounds of the chain a message belongs to, by number; itself alone where it has none."""
        path, query = {"message_id": message_id}, {"channel": channel_id}
        answer = await self._transport.call(operations.LIST_ITERATIONS, path=path, query=query)
        return answer.read(IterationChain)

    # ------------------------------------------------------------ reviews

    async def list_pending_reviews(self, channel_id: str) -> list[Message]:
        """Every message of a channel whose review is stored as pending, newest first (placet.md §3 no. 7).

        An overdue review stays listed until the server's sweep, at most a minute.
        """
        query = {"channel": channel_id}
        return (await self._transport.call(operations.LIST_PENDING_REVIEWS, query=query)).read_list(Message)

    async def get_review(self, channel_id: str, message_id: str) -> Message:
        """A message with its review; expires nothing (placet.md §3 no. 8)."""
        return await self._message(operations.GET_REVIEW, channel_id, message_id)

    async def wait_for_review(
        self, channel_id: str, message_id: str, wait: float = LONGEST_WAIT
    ) -> WaitResult:
        """One long-poll of `wait` seconds, at most 30 (placet.md §3.5).

        `timeout` means ask again, also after the expiry: an overdue review may still be answered. Asking
        expires an overdue review without an event for others.
        """
        if not 0 < wait <= LONGEST_WAIT:
            raise InvalidInput(f"wait is {wait:g} s; one long-poll takes more than 0 and at most 30 seconds")
        path = {"message_id": message_id}
        query = {"channel": channel_id, "timeout": max(1, round(wait * 1000))}
        return (await self._transport.call(operations.WAIT_FOR_REVIEW, path=path, query=query)).read(
            WaitResult
        )

    # ------------------------------------------------------------ channels

    async def list_channels(self) -> list[Channel]:
        """Every channel of the key's user, newest first (placet.md §3 no. 10)."""
        return (await self._transport.call(operations.LIST_CHANNELS)).read_list(Channel)

    async def create_channel(self, request: ChannelRequest) -> Channel:
        """Make a channel (placet.md §3 no. 11). The same name twice makes two."""
        body = request.model_dump(mode="json", by_alias=True, exclude_none=True)
        return (await self._transport.call(operations.CREATE_CHANNEL, json=body)).read(Channel)

    async def delete_channel(self, channel_id: str) -> None:
        """Delete a channel with its messages; not on the vendor's page (placet.md §6)."""
        await self._gone(operations.DELETE_CHANNEL, {"channel_id": channel_id}, {})

    async def set_webhook(
        self,
        channel_id: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        auth: WebhookAuth | None = None,
    ) -> Channel:
        """Send a channel's events to `url`, in place of an earlier one (placet.md §5.2).

        Calls are not signed: give credentials or an own header, and read the review back.
        """
        body: dict[str, Any] = {"channelId": channel_id, "url": url}
        body |= {"headers": dict(headers)} if headers else {}
        body |= {"auth": auth.model_dump(mode="json", by_alias=True)} if auth is not None else {}
        return (await self._transport.call(operations.SET_WEBHOOK, json=body)).read(Channel)

    async def delete_webhook(self, channel_id: str) -> Channel:
        """Send a channel's events nowhere (placet.md §5.2)."""
        body = {"channelId": channel_id}
        return (await self._transport.call(operations.DELETE_WEBHOOK, json=body)).read(Channel)

    async def ping(self, channel_id: str, status: ChannelStatus, message: str | None = None) -> Channel:
        """Say how we are; `message` has at most 500 characters, and None clears it (placet.md §3.6)."""
        if message is not None and len(message) > _LONGEST_STATUS:
            raise InvalidInput(f"the status message has {len(message)} characters; 500 are allowed")
        body = {"agentId": channel_id, "status": status, **({"message": message} if message else {})}
        return (await self._transport.call(operations.PING, json=body)).read(Channel)

    # ------------------------------------------------------------ plugins

    async def list_plugins(self) -> list[Plugin]:
        """Every plugin's definition (placet.md §3 no. 13)."""
        return (await self._transport.call(operations.LIST_PLUGINS)).read_list(Plugin)

    async def get_plugin(self, name: str) -> Plugin:
        """One plugin's definition (placet.md §3 no. 14)."""
        return (await self._transport.call(operations.GET_PLUGIN, path={"name": name})).read(Plugin)

    # ------------------------------------------------------------ files

    async def upload_file(self, channel_id: str, path: Path, *, filename: str | None = None) -> Attachment:
        """Send a file as a message of its own; it cannot be attached to another (placet.md §3.9)."""
        return await self._send_file(operations.UPLOAD_FILE, channel_id, path, filename)

    async def store_file(self, channel_id: str, path: Path, *, filename: str | None = None) -> Attachment:
        """Store a file, to be attached once to a message of the same channel (placet.md §3.9)."""
        return await self._send_file(operations.STORE_FILE, channel_id, path, filename)

    async def list_files(self, channel_id: str) -> list[Attachment]:
        """Every file of a channel, unattached ones too; not on the vendor's page (placet.md §3.9)."""
        query = {"channel": channel_id}
        return (await self._transport.call(operations.LIST_FILES, query=query)).read_list(Attachment)

    async def download_file(self, file_id: str, destination: Path, *, limit: int | None = None) -> Downloaded:
        """Fetch a file into `destination`, which appears whole or not at all; `limit` is bytes."""
        path = {"file_id": file_id}
        return await self._transport.download(operations.DOWNLOAD_FILE, destination, path=path, limit=limit)

    # ------------------------------------------------------------ shared

    async def _message(self, operation: Operation, channel_id: str, message_id: str) -> Message:
        path, query = {"message_id": message_id}, {"channel": channel_id}
        answer: Answer = await self._transport.call(operation, path=path, query=query)
        return answer.read(Message)

    async def _send_file(
        self, operation: Operation, channel_id: str, path: Path, filename: str | None
    ) -> Attachment:
        name = plain_filename(filename or path.name)
        await _check_size(path)
        upload = Upload("file", path, name, media_type(name), fields=(("channelId", channel_id),))
        return (await self._transport.call(operation, upload=upload)).read(Attachment)

    async def _gone(self, operation: Operation, path: Mapping[str, str], query: Mapping[str, str]) -> None:
        try:
            await self._transport.call(operation, path=path, query=query)
        except NotFound as error:
            if not error.after_loss:
                raise


def checked_key(key: str) -> str:
    """`key`, if the server's routes can hold it (placet.md §2)."""
    if not key.strip() or len(key) > _LONGEST_KEY:
        raise InvalidInput(f"the stream id has {len(key)} characters; give 1 to {_LONGEST_KEY}")
    return key


def plain_filename(name: str) -> str:
    """`name` in ASCII: another one makes its download fail at the server (placet.md §3.9)."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    stem, dot, suffix = "".join(c if c.isprintable() else "_" for c in plain).rpartition(".")
    return f"{stem.strip() or 'file'}{dot}{suffix}" if dot else suffix.strip() or "file"


def media_type(filename: str) -> str:
    """The media type that a file's ending says; the server stores it unseen."""
    return mimetypes.guess_type(filename, strict=False)[0] or "application/octet-stream"


async def _check_size(path: Path) -> None:
    """Refuse here what the server would answer with a 500; a missing file is the transport's to name."""
    with suppress(OSError):
        size = (await asyncio.to_thread(path.stat)).st_size
        if size > operations.FILE_LIMIT:
            raise InvalidInput(
                f"{path} has {size} bytes; Placet takes at most {operations.FILE_LIMIT}: make it smaller"
            )
