"""What the Placet stand-in tells by itself: Socket.IO events and webhooks (placet.md §5.2, §5.3)."""

import asyncio
import ipaddress
import json
import logging
import socket
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import socketio
from starlette.types import ASGIApp

from plait.sandbox.context import SandboxContext
from plait.sandbox.placet_store import USERS, StoredChannel, StoredMessage
from plait.sandbox.store import Transaction

NAMESPACE: Final = "/ws"
SOCKET_PATH: Final = "placet/socket.io"
_OK: Final = range(200, 300)
_LOGGER: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a webhook goes."""

    url: str
    method: str
    headers: Mapping[str, str]
    auth: aiohttp.BasicAuth | None


def webhook_target(channel: StoredChannel, message: StoredMessage | None) -> Target | None:
    """The first of: the message's webhook, the channel's, the review's callback (placet.md §5.2)."""
    url = (message.webhook_url if message is not None else None) or channel.webhook_url
    if url is not None:
        given = channel.webhook_auth
        auth = None if given is None else aiohttp.BasicAuth(given["username"], given["password"])
        return Target(url, "POST", channel.webhook_headers or {}, auth)
    callback = message.review.callback if message is not None and message.review is not None else None
    if callback is None:
        return None
    return Target(callback["url"], callback.get("method") or "POST", callback.get("headers") or {}, None)


class Push:
    """Sends events to whoever listens. Nothing waits for it, nothing is sent twice by itself."""

    def __init__(self, context: SandboxContext) -> None:
        self._context = context
        self._settings = context.settings.placet
        self._tasks: set[asyncio.Task[None]] = set()
        self._users: dict[str, str] = {}
        self._sockets = socketio.AsyncServer(
            async_mode="asgi", cors_allowed_origins=[], monitor_clients=False, namespaces=[NAMESPACE]
        )
        self._sockets.on("connect", self._connect, namespace=NAMESPACE)
        self._sockets.on("disconnect", self._disconnect, namespace=NAMESPACE)
        self._sockets.on("subscribe:channel", self._subscribe, namespace=NAMESPACE)
        self._sockets.on("ping", self._ping, namespace=NAMESPACE)
        self.app: ASGIApp = socketio.ASGIApp(self._sockets, socketio_path=SOCKET_PATH)

    async def aclose(self) -> None:
        """Give up what was not delivered, and close every socket."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._sockets.shutdown()

    async def _connect(self, sid: str, _: Mapping[str, Any], auth: Any = None) -> None:
        key = auth.get("apiKey") if isinstance(auth, dict) else None
        if not isinstance(key, str) or key not in USERS:
            raise socketio.exceptions.ConnectionRefusedError("unauthorized")
        self._users[sid] = USERS[key]

    async def _disconnect(self, sid: str, *_: Any) -> None:
        self._users.pop(sid, None)

    async def _subscribe(self, sid: str, channel_id: Any) -> None:
        """No acknowledgement; a foreign channel fails in silence."""
        channel = await self._context.store.get(StoredChannel, str(channel_id))
        if channel is not None and channel.parent == self._users.get(sid):
            await self._sockets.enter_room(sid, channel.id, namespace=NAMESPACE)

    async def _ping(self, sid: str, *_: Any) -> None:
        await self._sockets.emit("pong", to=sid, namespace=NAMESPACE)

    async def emit(self, channel_id: str, event: str, data: Any) -> None:
        """One event to everybody who subscribed to the channel."""
        await self._sockets.emit(event, data, room=channel_id, namespace=NAMESPACE)

    def dispatch(
        self, channel: StoredChannel, message: StoredMessage | None, body: Mapping[str, Any], *, mark: bool
    ) -> None:
        """Call the webhook once, beside the request; with `mark` the message's delivery is noted."""
        target = webhook_target(channel, message)
        if target is None:
            return
        marked = message.id if message is not None and mark else None
        self._spawn(self._deliver(target, channel.id, marked, body))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(
        self, target: Target, channel_id: str, marked: str | None, body: Mapping[str, Any]
    ) -> None:
        if not self._settings.local_webhooks and await _is_local(target.url):
            _LOGGER.info("a webhook to a local address was refused")
            return  # deliveryStatus stays `sent` (placet.md §5.2)
        delivered = await self._post(target, body)
        if marked is None:
            return
        word = "webhook_delivered" if delivered else "webhook_failed"

        def work(transaction: Transaction) -> None:
            message = transaction.get(StoredMessage, marked)
            if message is not None:
                transaction.put(message.model_copy(update={"delivery_status": word}))

        await self._context.store.transact(work)
        await self.emit(channel_id, "message:delivery", {"messageId": marked, "deliveryStatus": word})

    async def _post(self, target: Target, body: Mapping[str, Any]) -> bool:
        timeout = aiohttp.ClientTimeout(total=self._settings.webhook_timeout)
        headers = {**target.headers, "Content-Type": "application/json"}
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, auth=target.auth) as session,
                session.request(
                    target.method,
                    target.url,
                    data=json.dumps(body).encode(),
                    headers=headers,
                    allow_redirects=False,
                ) as answered,
            ):
                return answered.status in _OK
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return False


async def _is_local(url: str) -> bool:
    """Whether the host is, or resolves to, an address that is not public."""
    host = urlsplit(url).hostname or ""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return any(not ipaddress.ip_address(str(entry[4][0]).partition("%")[0]).is_global for entry in found)
