"""Channels, heartbeats and plugins of the Placet stand-in (placet.md §3 no. 10 to 14, §3.6)."""

import asyncio
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, field_validator
from pydantic.alias_generators import to_camel
from starlette.responses import Response

from plait.sandbox.context import SandboxContext
from plait.sandbox.placet_store import (
    PLUGINS,
    StoredChannel,
    StoredFile,
    StoredKey,
    StoredMessage,
    find_messages,
    new_id,
    shown_channel,
)
from plait.sandbox.placet_wire import Call, answer, refuse
from plait.sandbox.store import Transaction
from plait.vendors.placet.operations import (
    CREATE_CHANNEL,
    DELETE_CHANNEL,
    DELETE_WEBHOOK,
    PING,
    SET_WEBHOOK,
)


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", alias_generator=to_camel, populate_by_name=True, strict=True)

    @field_validator("url", "webhook_url", "avatar_url", check_fields=False)
    @classmethod
    def _is_url(cls, value: str | None) -> str | None:
        if value is not None:
            HttpUrl(value)
        return value


class NewChannel(_Body):
    """The body of `POST /agents`."""

    name: Annotated[str, Field(min_length=1)]
    description: str | None = None
    avatar_url: str | None = None
    webhook_url: str | None = None
    tag: str | None = Field(default=None, max_length=64)


class Heartbeat(_Body):
    """The body of `POST /status/ping`."""

    agent_id: Annotated[str, Field(min_length=1)]
    status: Literal["active", "busy", "error", "offline"]
    message: str | None = Field(default=None, max_length=500)


class BasicAuth(_Body):
    """Basic credentials of a webhook."""

    username: str
    password: str


class Webhook(_Body):
    """The body of `POST /agents/setWebhook`."""

    channel_id: Annotated[str, Field(min_length=1)]
    url: str
    headers: dict[str, str] | None = None
    auth: BasicAuth | None = None


class NoWebhook(_Body):
    """The body of `POST /agents/deleteWebhook`."""

    channel_id: Annotated[str, Field(min_length=1)]


class Channels:
    """The endpoints."""

    def __init__(self, context: SandboxContext) -> None:
        self._context = context

    async def list_all(self, call: Call) -> Response:
        """Every channel of the user, newest first."""
        found = await self._context.store.list(StoredChannel, parent=call.user)
        return answer([shown_channel(channel) for channel in reversed(found)])

    async def create(self, call: Call) -> Response:
        """A channel at every call: names are not unique."""
        body = call.read(NewChannel)
        channel = StoredChannel(
            id=new_id(), parent=call.user, created_at=self._context.now(), **body.model_dump()
        )

        def work(transaction: Transaction) -> None:
            transaction.put(channel)
            marker = channel.description or channel.name
            transaction.record(CREATE_CHANNEL, entity_id=channel.id, marker=marker)

        await self._context.store.transact(work)
        return answer(shown_channel(channel), 201)

    async def delete(self, call: Call) -> Response:
        """A channel with all that is in it."""
        folder = self._context.settings.files

        def work(transaction: Transaction) -> list[StoredFile]:
            channel = _owned(transaction, call.user, call.parameter("channel_id"))
            for message in find_messages(transaction, "parent = ?", (channel.id,)):
                for key in transaction.list(StoredKey, parent=message.id):
                    transaction.delete(StoredKey, key.id)
                transaction.delete(StoredMessage, message.id)
            files = transaction.list(StoredFile, parent=channel.id)
            for file in files:
                transaction.delete(StoredFile, file.id)
            transaction.delete(StoredChannel, channel.id)
            transaction.record(DELETE_CHANNEL, entity_id=channel.id, marker=channel.id)
            return files

        for file in await self._context.store.transact(work):
            await asyncio.to_thread(file.path(folder).unlink, missing_ok=True)
        return answer({"deleted": True})

    async def ping(self, call: Call) -> Response:
        """201; without a message the old one is cleared, and only a change moves `statusSince`."""
        body, now = call.read(Heartbeat), self._context.now()

        def work(transaction: Transaction) -> StoredChannel:
            channel = _owned(transaction, call.user, body.agent_id)
            since = channel.status_since if channel.status == body.status else now
            changed = channel.model_copy(
                update={
                    "status": body.status,
                    "status_message": body.message,
                    "status_since": since,
                    "last_active_at": now,
                }
            )
            transaction.put(changed)
            transaction.record(PING, entity_id=channel.id, marker=body.status)
            return changed

        return answer(shown_channel(await self._context.store.transact(work)), 201)

    async def set_webhook(self, call: Call) -> Response:
        """One for each channel, the last one wins."""
        body = call.read(Webhook)
        values = {
            "webhook_url": body.url,
            "webhook_headers": body.headers,
            "webhook_auth": None if body.auth is None else body.auth.model_dump(),
        }
        changed = await self._change(call.user, body.channel_id, values, SET_WEBHOOK)
        return answer(shown_channel(changed))

    async def delete_webhook(self, call: Call) -> Response:
        """No webhook any more."""
        body = call.read(NoWebhook)
        values: dict[str, Any] = {"webhook_url": None, "webhook_headers": None, "webhook_auth": None}
        changed = await self._change(call.user, body.channel_id, values, DELETE_WEBHOOK)
        return answer(shown_channel(changed))

    async def _change(
        self, user: str, channel_id: str, values: dict[str, Any], operation: Any
    ) -> StoredChannel:
        def work(transaction: Transaction) -> StoredChannel:
            changed = _owned(transaction, user, channel_id).model_copy(update=values)
            transaction.put(changed)
            transaction.record(operation, entity_id=changed.id, marker=changed.id)
            return changed

        return await self._context.store.transact(work)

    async def plugins(self, _: Call) -> Response:
        """The definitions, without configured values."""
        return answer(PLUGINS)

    async def plugin(self, call: Call) -> Response:
        """One definition."""
        name = call.parameter("name")
        found = next((plugin for plugin in PLUGINS if plugin["name"] == name), None)
        if found is None:
            refuse(404, f'Plugin "{name}" not found')
        return answer(found)


def _owned(transaction: Transaction, user: str, channel_id: str) -> StoredChannel:
    """404 here, where messages say 403 (placet.md §2)."""
    channel = transaction.get(StoredChannel, channel_id)
    if channel is None or channel.parent != user:
        refuse(404, "Agent not found")
    return channel
