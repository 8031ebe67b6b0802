"""How Placet's effects are repeated or found again after a lost answer (placet.md §6)."""

import asyncio
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from plait.http import sha256_of
from plait.http.errors import (
    AuthenticationFailed,
    Conflict,
    InvalidInput,
    MalformedResponse,
    NotFound,
    PermissionDenied,
    PlaitError,
    RequestRejected,
    ServerFailed,
    ValidationFailed,
)
from plait.http.operation import Operation
from plait.ledger.recipe import (
    Absent,
    AnyRecipe,
    Found,
    Identity,
    Json,
    Look,
    NotYetKnown,
    Recorded,
    Several,
    Verdict,
)
from plait.vendors.placet import operations
from plait.vendors.placet.client import PlacetClient, plain_filename
from plait.vendors.placet.models import Attachment, Channel, ChannelRequest, Message, MessageContent
from plait.vendors.placet.reviews import read_request

_MARKER_LENGTH: Final = 12
_LEGIBLE: Final = re.compile(r"[A-Za-z0-9 ]{8,60}")
"""What a search is made of: characters that mean nothing to a database's pattern."""


@dataclass(slots=True)
class PostMessage:
    """Post one message, with a review or without, under a key of ours (placet.md §3.1, §6)."""

    client: PlacetClient
    channel_id: str
    content: MessageContent
    _other: str | None = field(default=None, init=False, repr=False, compare=False)

    operation: Operation = field(default=operations.POST_MESSAGE, init=False, repr=False)
    result_type: type[Message] = field(default=Message, init=False, repr=False)

    async def identity(self) -> Identity:
        """The channel and all that the message says."""
        return Identity(
            account=self.client.base_url,
            target=f"{self.client.base_url}/channels/{self.channel_id}",
            inputs=self.content.body(),
        )

    async def baseline(self) -> Json:
        """Nothing: the key tells ours from all others."""
        return None

    async def send(self, external_id: str) -> Message:
        """Post it, or get back the one that is stored under the key.

        Raises:
            Conflict: another message is stored under the key.
            ValidationFailed: a file could not be attached; the message was retracted.
            ServerFailed: the server attached none of the files; the message was retracted, try again.
        """
        message = await self.client.post_message(self.channel_id, self.content, key=external_id)
        if (difference := self._difference(message)) is not None:
            self._other = message.id
            raise Conflict(
                f"message {message.id} stands under our key with another {difference}; somebody else used "
                "the key, or the message was changed: compare the two",
                system=operations.SYSTEM,
                operation=self.operation.name,
            )
        if missing := self._missing_files(message):
            await self._retract(message, missing)
        return message

    async def look(self, context: Look) -> Verdict[Message]:
        """Find the message with our key in the channel's list; one that differs is for a person."""
        try:
            if self._other is not None and await self._stands(self._other, context.external_id):
                return Several((self._other,))  # a search for our words would not find its
            search = _LEGIBLE.search(self.content.text or "")
            words = search[0].strip() if search else None
            async for message in self.client.iterate_messages(self.channel_id, search=words):
                if context.external_id in {message.stream_id, message.client_id}:
                    # The list is redacted and lacks texts of files: read it as the post answers it.
                    whole = await self.client.get_message(self.channel_id, message.id)
                    differs = self._difference(whole) is not None or self._missing_files(whole)
                    return Several((whole.id,)) if differs else Found(whole)
        except PlaitError as error:
            return _cannot_look(error)
        return Absent()

    async def _stands(self, message_id: str, key: str) -> bool:
        """Whether another message than ours is still under our key."""
        try:
            message = await self.client.get_message(self.channel_id, message_id)
        except NotFound:
            return False
        return key in {message.stream_id, message.client_id} and self._difference(message) is not None

    def vendor_id(self, result: Message) -> str:
        """The message's id."""
        return result.id

    def final(self, error: PlaitError) -> bool:
        """No failure of the server is known to be for ever."""
        del error
        return False

    def _difference(self, message: Message) -> str | None:
        """The first part of a stored message that is not what we say."""
        review = self.content.review
        pairs = {
            "text": ((message.text or ""), (self.content.text or "")),
            "status": (message.status, self.content.status),
            "review": (
                None if message.review is None else (message.review.type, _shown(message.review.payload)),
                None if review is None else (review.kind, _shown(review.payload())),
            ),
        }
        return next((name for name, (stored, ours) in pairs.items() if stored != ours), None)

    def _missing_files(self, message: Message) -> list[str]:
        attached = {attachment.id for attachment in message.attachments}
        return [file_id for file_id in self.content.attachment_ids if file_id not in attached]

    async def _retract(self, message: Message, missing: list[str]) -> None:
        """A message without its files must not be answered. Deleting it frees its key."""
        await self._delete(message)
        usable = await self._still_usable(missing)
        if len(missing) == len(self.content.attachment_ids) and usable == set(missing):
            raise ServerFailed(
                f"Placet stored message {message.id} without its {len(missing)} files; it was retracted",
                system=operations.SYSTEM,
                operation=self.operation.name,
            )
        bad = sorted(set(missing) - usable) or missing
        raise ValidationFailed(
            f"not posted: {', '.join(bad)} is no stored, unattached file of channel {self.channel_id}; "
            "store the file again (a file attaches once, and an uploaded one never)",
            system=operations.SYSTEM,
            operation=self.operation.name,
        )

    async def _delete(self, message: Message) -> None:
        try:
            await self.client.delete_message(self.channel_id, message.id)
        except NotFound:
            return
        except RequestRejected as error:
            raise MalformedResponse(
                f"message {message.id} was stored without its files and cannot be retracted "
                f"({error.message}); delete it in Placet",
                system=operations.SYSTEM,
                operation=self.operation.name,
            ) from error

    async def _still_usable(self, file_ids: list[str]) -> set[str]:
        files = await self.client.list_files(self.channel_id)
        free = {file.id for file in files if file.message_id is None}
        return free & set(file_ids)


@dataclass(slots=True)
class CreateChannel:
    """Make one channel; its description ends in a marker, so that it can be found (placet.md §6)."""

    client: PlacetClient
    request: ChannelRequest

    operation: Operation = field(default=operations.CREATE_CHANNEL, init=False, repr=False)
    result_type: type[Channel] = field(default=Channel, init=False, repr=False)

    async def identity(self) -> Identity:
        """All that the channel is."""
        return Identity(
            account=self.client.base_url,
            target=f"{self.client.base_url}/channels",
            inputs=self.request.model_dump(mode="json", exclude_none=True),
        )

    async def baseline(self) -> Json:
        """Nothing: the marker tells ours from all others."""
        return None

    async def send(self, external_id: str) -> Channel:
        """Make it with its marked description."""
        return await self.client.create_channel(
            self.request.model_copy(update={"description": self.description(external_id)})
        )

    async def look(self, context: Look) -> Verdict[Channel]:
        """List all channels; ours ends in the marker, even if somebody rewrote what is before it."""
        try:
            listed = await self.client.list_channels()
        except PlaitError as error:
            return _cannot_look(error)
        marker = _marker(context.external_id)
        ours = [channel for channel in listed if (channel.description or "").rstrip().endswith(marker)]
        if len(ours) > 1:
            return Several(tuple(channel.id for channel in ours))
        return Found(ours[0]) if ours else Absent()

    def vendor_id(self, result: Channel) -> str:
        """The channel's id."""
        return result.id

    def final(self, error: PlaitError) -> bool:
        """No failure of the server is known to be for ever."""
        del error
        return False

    def description(self, external_id: str) -> str:
        """The description that is sent."""
        words = (self.request.description or "").rstrip()
        return f"{words} · {_marker(external_id)}" if words else _marker(external_id)


@dataclass(slots=True)
class _SendFile:
    """What storing and uploading share: the marked name, and the content that must not change."""

    client: PlacetClient
    channel_id: str
    path: Path
    filename: str | None = None

    result_type: type[Attachment] = field(default=Attachment, init=False, repr=False)
    _sha256: str | None = field(default=None, init=False, repr=False)
    _size: int = field(default=0, init=False, repr=False)

    async def identity(self) -> Identity:
        """The channel, the name and the bytes. Raises `InvalidInput` when there is no file."""
        try:
            self._sha256 = await sha256_of(self.path)
            self._size = (await asyncio.to_thread(self.path.stat)).st_size
        except OSError as error:
            raise InvalidInput(f"cannot read the file to send, {self.path}: {error.strerror}") from error
        return Identity(
            account=self.client.base_url,
            target=f"{self.client.base_url}/channels/{self.channel_id}",
            inputs={
                "sha256": self._sha256,
                "size": self._size,
                "filename": self.filename or self.path.name,
            },
        )

    async def baseline(self) -> Json:
        """Nothing: the marker tells ours from all others."""
        return None

    def recall(self, inputs: Json) -> Self:
        """Take name, digest and size from the ledger's row: able to look then, and not to send."""
        self.filename, self._sha256, self._size = inputs["filename"], inputs["sha256"], inputs["size"]
        return self

    def vendor_id(self, result: Attachment) -> str:
        """The file's id."""
        return result.id

    def final(self, error: PlaitError) -> bool:
        """No failure of the server is known to be for ever."""
        del error
        return False

    def name(self, external_id: str) -> str:
        """The name that is sent: the file's own, with the marker before its ending."""
        plain = plain_filename(self.filename or self.path.name)
        stem, dot, suffix = plain.rpartition(".")
        return (
            f"{stem}-{_marker(external_id)}.{suffix}" if dot and stem else f"{plain}-{_marker(external_id)}"
        )

    async def _check_content(self) -> None:
        if self._sha256 is not None and await sha256_of(self.path) != self._sha256:
            raise InvalidInput(f"{self.path} changed after it was read; start again with the new content")

    def _verdict(self, listed: list[Attachment], external_id: str) -> Verdict[Attachment]:
        ours = [file for file in listed if file.filename == self.name(external_id)]
        if len(ours) > 1 or any(file.size != self._size for file in ours):
            return Several(tuple(file.id for file in ours))
        return Found(ours[0]) if ours else Absent()


@dataclass(slots=True)
class StoreFile(_SendFile):
    """Store one file, to be attached to a message later (placet.md §3.9)."""

    operation: Operation = field(default=operations.STORE_FILE, init=False, repr=False)

    async def send(self, external_id: str) -> Attachment:
        """Store it under its marked name."""
        await self._check_content()
        name = self.name(external_id)
        return await self.client.store_file(self.channel_id, self.path, filename=name)

    async def look(self, context: Look) -> Verdict[Attachment]:
        """List the channel's files, attached or not."""
        try:
            listed = await self.client.list_files(self.channel_id)
        except NotFound:
            return NotYetKnown(
                "this Placet does not list files that are attached to nothing, so a stored one cannot be "
                "looked for; one too many does no harm: resolve this effect as absent"
            )
        except PlaitError as error:
            return _cannot_look(error)
        return self._verdict(listed, context.external_id)


@dataclass(slots=True)
class UploadFile(_SendFile):
    """Send one file as a message of its own (placet.md §3.9)."""

    operation: Operation = field(default=operations.UPLOAD_FILE, init=False, repr=False)

    async def send(self, external_id: str) -> Attachment:
        """Upload it under its marked name."""
        await self._check_content()
        name = self.name(external_id)
        return await self.client.upload_file(self.channel_id, self.path, filename=name)

    async def look(self, context: Look) -> Verdict[Attachment]:
        """Read all messages with attachments; more than one of ours is for a person."""
        try:
            messages = self.client.iterate_messages(self.channel_id, has_attachments=True)
            listed = [attachment async for message in messages for attachment in message.attachments]
        except PlaitError as error:
            return _cannot_look(error)
        return self._verdict(listed, context.external_id)


def restore(client: PlacetClient, recorded: Recorded) -> AnyRecipe | None:
    """The recipe of a recorded effect, able to look and not to send; None for an unknown operation."""
    channel_id = recorded.target.removeprefix(f"{recorded.account}/channels/")
    match recorded.operation:
        case "post_message":
            return PostMessage(client, channel_id, _recorded_content(recorded.inputs))
        case "create_channel":
            return CreateChannel(client, ChannelRequest.model_validate(recorded.inputs))
        case "store_file":
            return StoreFile(client, channel_id, _NO_FILE).recall(recorded.inputs)
        case "upload_file":
            return UploadFile(client, channel_id, _NO_FILE).recall(recorded.inputs)
    return None


_NO_FILE: Final = Path("the-ledger-keeps-no-files")
"""A look compares name and size, and these are in the row."""


def _recorded_content(body: Json) -> MessageContent:
    """What a look compares of a recorded message: the rest of it changes nothing there."""
    said = dict(body)
    review = said.get("review")
    return MessageContent(
        text=said.get("text"),
        status=said.get("status"),
        review=None if review is None else read_request(review["type"], review["payload"]),
        attachment_ids=tuple(said.get("attachmentIds", ())),
    )


def _marker(external_id: str) -> str:
    """Environment and tail of the external id: people find it in the ledger by either."""
    environment, _, _ = external_id.partition("-")
    return f"{environment}-{external_id[-_MARKER_LENGTH:]}"


def _shown(payload: Json) -> Json:
    """A payload without its nulls: a server may store absent fields as such."""
    if isinstance(payload, dict):
        return {name: _shown(value) for name, value in payload.items() if value is not None}
    return [_shown(item) for item in payload] if isinstance(payload, list) else payload


def _cannot_look(error: PlaitError) -> NotYetKnown:
    """What a failed look says. Raises where only a person can make the look possible again."""
    if isinstance(error, AuthenticationFailed | PermissionDenied):
        raise error
    return NotYetKnown(f"Placet could not be asked: {error}", error.retry_after)
