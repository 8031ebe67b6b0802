"""Webhook subscriptions of the Planasonix stand-in, and the events it sends (planasonix.md §5).

No source knows the paths of subscriptions, nor names, attempts and signed string of deliveries: all of it is
[assumed], save the payload of `job.completed` and `job.failed` [vendor airflow] and that a delivery which
fails is repeated with exponential backoff [vendor whset].
"""

import asyncio
import hashlib
import hmac
import logging
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from starlette.responses import Response

from plait.sandbox.context import SandboxContext
from plait.sandbox.planasonix_desk import Desk, belonging, owned
from plait.sandbox.planasonix_records import Webhook
from plait.sandbox.planasonix_store import Delivery, Shelf
from plait.sandbox.planasonix_voices import part_of
from plait.sandbox.planasonix_wire import Call, refused_field
from plait.sandbox.planasonix_work import EVENTS

_LOGGER: Final = logging.getLogger(__name__)
_DEFAULT_EVENTS: Final = ["job.completed", "job.failed"]
_OK: Final = range(200, 300)
_TICK: Final = 0.1


class Webhooks:
    """Subscriptions."""

    def __init__(self, desk: Desk, courier: "Courier") -> None:
        self._desk = desk
        self._courier = courier

    async def list_all(self, call: Call) -> Response:
        """By last change, newest first."""
        part = part_of(call, "webhook", self._desk.settings)
        found, part = await self._desk.listed(call, "webhook", Webhook, belonging(call), part)
        showing = self._desk.showing(call.voice)
        return self._desk.answers.many(call, "webhook", [showing.webhook(each) for each in found], part)

    async def create(self, call: Call) -> Response:
        """A subscription; its secret is shown this once."""
        now, url, events = self._desk.now(), call.text("url", required=True), call.list("events")
        if urlsplit(str(url)).scheme not in {"http", "https"}:
            raise refused_field("url", "not an http or https address")
        unknown = [each for each in events or () if each not in EVENTS]
        if unknown:
            raise refused_field("events", f"not one of {', '.join(sorted(EVENTS))}")

        def work(shelf: Shelf) -> Webhook:
            made = Webhook(
                id=shelf.new_id(Webhook),
                organization=call.organization,
                at=now,
                created_at=now,
                url=str(url),
                events=events or _DEFAULT_EVENTS,
                secret=call.text("secret") or self._desk.settings.webhook_secret,
            )
            shelf.add(made)
            shelf.transaction.record(call.operation, entity_id=made.id, marker=made.url)
            return made

        made = await self._desk.transact(work)
        self._courier.wake()
        shown = self._desk.showing(call.voice).webhook(made, secret=True)
        return self._desk.answers.one(call, "webhook", shown, 201)

    async def delete(self, call: Call) -> Response:
        """Nothing more is sent, nor what failed before."""

        def work(shelf: Shelf) -> None:
            webhook = owned(shelf, call, Webhook, call.parameter("webhook_id"))
            shelf.delete(webhook)
            shelf.transaction.record(call.operation, entity_id=webhook.id, marker=webhook.id)

        await self._desk.transact(work)
        return Response(status_code=204)


@dataclass(frozen=True, slots=True)
class _Due:
    deliveries: list[tuple[Delivery, Webhook | None]]
    listening: bool
    """Whether anybody has subscribed to anything."""


class Courier:
    """Sends events, beside the requests; what was not delivered when the sandbox ends goes on afterwards."""

    def __init__(self, context: SandboxContext, desk: Desk) -> None:
        self._clock = context.clock
        self._settings = context.settings.planasonix
        self._desk = desk
        self._awake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Start to look for what is due."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def aclose(self) -> None:
        """Give up what is on its way."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def wake(self) -> None:
        """Somebody has subscribed."""
        self._awake.set()

    async def _run(self) -> None:
        while True:
            due = await self._desk.transact(self._take)
            await asyncio.gather(*(self._deliver(delivery, webhook) for delivery, webhook in due.deliveries))
            if due.listening:
                await self._clock.sleep(_TICK)
            else:
                self._awake.clear()
                await self._awake.wait()

    @staticmethod
    def _take(shelf: Shelf) -> _Due:
        deliveries = shelf.due_deliveries(time.time())
        pairs = [(delivery, shelf.item(Webhook, delivery.webhook)) for delivery in deliveries]
        return _Due(pairs, shelf.has(Webhook))

    async def _deliver(self, delivery: Delivery, webhook: Webhook | None) -> None:
        """One attempt; after the last one the event is lost."""
        over = webhook is None or await self._post(webhook, delivery.body)
        attempts = delivery.attempts + 1
        if not over and attempts >= self._settings.webhook_attempts:
            _LOGGER.info("an event was given up after %s attempts", attempts)
            over = True
        wait = self._settings.webhook_backoff * 2 ** (attempts - 1)
        again = None if over else time.time() + wait
        await self._desk.transact(lambda shelf: shelf.attempted(delivery, attempts, again))

    async def _post(self, webhook: Webhook, body: str) -> bool:
        content, now = body.encode(), str(int(time.time()))
        secret = (webhook.secret or self._settings.webhook_secret).encode()
        signed = content if self._settings.signed_text == "body" else f"{now}.".encode() + content
        digest = hmac.new(secret, signed, hashlib.sha256).hexdigest()
        headers = {
            "Content-Type": "application/json",
            self._settings.signature_header: f"sha256={digest}",
            self._settings.timestamp_header: now,
        }
        timeout = aiohttp.ClientTimeout(total=self._settings.webhook_timeout)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(webhook.url, data=content, headers=headers, allow_redirects=False) as answered,
            ):
                return answered.status in _OK
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return False
