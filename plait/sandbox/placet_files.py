"""Files of the Placet stand-in: upload, store, list, download (placet.md §3.9)."""

import asyncio
import hashlib
import shutil
from dataclasses import dataclass
from typing import Any, Final

from starlette.datastructures import UploadFile
from starlette.responses import FileResponse, Response

from plait.http.operation import Operation
from plait.sandbox.context import SandboxContext
from plait.sandbox.placet_push import Push
from plait.sandbox.placet_store import StoredChannel, StoredFile, StoredMessage, new_id, shown_file
from plait.sandbox.placet_wire import Call, answer, listed_channel, owned_channel, refuse
from plait.sandbox.store import Transaction
from plait.vendors.placet.operations import FILE_LIMIT, STORE_FILE, UPLOAD_FILE

FEW: Final = 64 * 1024
"""Bytes of a file behind which a late `channelId` is still seen [ran: seen at 3 KB, missed at 900 KB]."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A file as it came in."""

    channel_id: str
    upload: UploadFile
    size: int


class Files:
    """The endpoints."""

    def __init__(self, context: SandboxContext, push: Push) -> None:
        self._context = context
        self._settings = context.settings.placet
        self._folder = context.settings.files
        self._push = push

    async def upload(self, call: Call) -> Response:
        """A file that is at once a message of its own, without a text."""
        return answer(await self._keep(call.user, self._sent(call), UPLOAD_FILE), 201)

    async def store(self, call: Call) -> Response:
        """An orphan, to be attached later."""
        return answer(await self._keep(call.user, self._sent(call), STORE_FILE), 201)

    async def keep_for_person(self, user: str, channel_id: str, upload: UploadFile) -> dict[str, Any]:
        """A file that a person changed; counted as no effect of the agent's."""
        return await self._keep(user, Sent(channel_id, upload, upload.size or 0), None)

    def _sent(self, call: Call) -> Sent:
        """Fields that come after the file are not seen (placet.md §3.9)."""
        if call.form is None:
            refuse(500, "Internal server error")
        items = call.form.multi_items()
        position = next((i for i, (_, value) in enumerate(items) if isinstance(value, UploadFile)), None)
        if position is None:
            refuse(400, "No file provided")
        file = items[position][1]
        if not isinstance(file, UploadFile):
            refuse(400, "No file provided")
        size = file.size or 0
        if size > FILE_LIMIT:
            refuse(500, "Internal server error")
        late = self._settings.late_channel_field == "large" and size <= FEW
        seen = items if late else items[:position]
        channel_id = next((value for name, value in seen if name == "channelId"), None)
        if not isinstance(channel_id, str) or not channel_id:
            refuse(400, "channelId is required")
        return Sent(channel_id, file, size)

    async def _keep(self, user: str, sent: Sent, operation: Operation | None) -> dict[str, Any]:
        now = self._context.now()
        file = StoredFile(
            id=new_id(),
            parent=sent.channel_id,
            created_at=now,
            filename=sent.upload.filename or "file",
            mime_type=sent.upload.content_type or "application/octet-stream",
            size=sent.size,
        )
        digest = await asyncio.to_thread(self._write, sent.upload, file)

        def work(transaction: Transaction) -> tuple[StoredFile, StoredChannel]:
            channel = owned_channel(transaction, user, sent.channel_id)
            kept = file
            if operation is UPLOAD_FILE:
                message = StoredMessage(
                    id=new_id(),
                    parent=channel.id,
                    created_at=now,
                    updated_at=now,
                    sender_id=channel.id,
                    file_ids=[file.id],
                )
                transaction.put(message)
                kept = file.model_copy(update={"message_id": message.id})
            transaction.put(kept)
            if operation is not None:
                transaction.record(operation, entity_id=kept.id, marker=digest)
            return kept, channel

        try:
            kept, _ = await self._context.store.transact(work)
        except BaseException:
            file.path(self._folder).unlink(missing_ok=True)
            raise
        return shown_file(kept)

    def _write(self, upload: UploadFile, file: StoredFile) -> str:
        """Copy in constant memory; gives the SHA-256."""
        path = file.path(self._folder)
        with path.open("wb") as out:
            shutil.copyfileobj(upload.file, out)
        with path.open("rb") as written:
            return hashlib.file_digest(written, "sha256").hexdigest()

    async def list_all(self, call: Call) -> Response:
        """Every file of a channel, orphans too, newest first."""

        def work(transaction: Transaction) -> list[StoredFile]:
            channel = listed_channel(transaction, call)
            return transaction.list(StoredFile, parent=channel.id)

        found = await self._context.store.transact(work)
        return answer([shown_file(file) for file in reversed(found)])

    async def download(self, call: Call) -> Response:
        """The bytes. A name outside Latin-1 breaks the header (placet.md §3.9)."""

        def work(transaction: Transaction) -> StoredFile:
            file = transaction.get(StoredFile, call.parameter("file_id"))
            if file is None:
                refuse(404, "Attachment not found")
            owned_channel(transaction, call.user, file.parent)
            return file

        return self.body_of(await self._context.store.transact(work))

    def body_of(self, file: StoredFile) -> Response:
        """A file as the vendor sends it."""
        name = "".join("_" if char in '"\\\r\n' else char for char in file.filename)
        disposition = f'inline; filename="{name}"'
        try:
            disposition.encode("latin-1")
        except UnicodeEncodeError:
            refuse(500, "Internal server error")
        return FileResponse(
            file.path(self._folder), media_type=file.mime_type, headers={"Content-Disposition": disposition}
        )
