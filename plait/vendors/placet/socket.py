"""Placet's Socket.IO channel as a source of hints (placet.md §5.3).

It replays nothing, drops subscriptions on a reconnect, and refuses a foreign channel in silence. So
a hint says only "look again": the truth is read by REST. Its data hold raw passwords and webhook
credentials, of which nothing but ids leaves this module.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit

import socketio
from socketio.exceptions import ConnectionError as RefusedConnection

from plait.http.errors import AuthenticationFailed, NotSent
from plait.http.words import clean
from plait.vendors.placet import operations

NAMESPACE: Final = "/ws"
HintKind: TypeAlias = Literal[
    "connected",
    "message:created",
    "message:updated",
    "message:delivery",
    "review:responded",
    "review:expired",
]
EVENTS: Final[tuple[HintKind, ...]] = (
    "message:created",
    "message:updated",
    "message:delivery",
    "review:responded",
    "review:expired",
)
_WAITING: Final = 1000
"""Hints that wait to be read; beyond, they collapse into one `connected`."""
_UNAUTHORIZED: Final = ("unauthorized", "invalid api key", "missing or invalid")


@dataclass(frozen=True, slots=True)
class Hint:
    """Something happened. `connected` means: events may have been missed, read everything again."""

    kind: HintKind
    channel_id: str | None = None
    message_id: str | None = None


class _Hints:
    """The hints that wait; a reader that is too slow loses details, never the need to look."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Hint] = asyncio.Queue(_WAITING)

    def put(self, hint: Hint) -> None:
        if self._queue.full() or hint.kind == "connected":
            while not self._queue.empty():
                self._queue.get_nowait()
            hint = Hint("connected")
        self._queue.put_nowait(hint)

    async def __aiter__(self) -> AsyncIterator[Hint]:
        while True:
            yield await self._queue.get()


@asynccontextmanager
async def listen(
    base_url: str, api_key: str, channels: Iterable[str], *, wait: float = 10.0
) -> AsyncIterator[AsyncIterator[Hint]]:
    """Open the event channel for as long as the `async with` lasts; read hints with `async for`.

    The first hint is `connected`, and so is the first after each reconnect, which happens by itself.
    Own posts echo back.

    Raises:
        AuthenticationFailed: the key was refused.
        NotSent: no connection within `wait` seconds.
    """
    wanted, hints = tuple(channels), _Hints()
    client = socketio.AsyncClient(logger=False, engineio_logger=False)

    async def connected() -> None:
        for channel in wanted:
            await client.emit("subscribe:channel", channel, namespace=NAMESPACE)
        hints.put(Hint("connected"))

    client.on("connect", connected, namespace=NAMESPACE)
    for event in EVENTS:
        client.on(event, _receiver(event, hints), namespace=NAMESPACE)
    try:
        await _connect(client, base_url, api_key, wait)
        yield aiter(hints)
    finally:
        await client.shutdown()


def _receiver(kind: HintKind, hints: _Hints) -> Any:
    async def received(data: Any = None) -> None:
        hints.put(_hint(kind, data))

    return received


def _hint(kind: HintKind, data: Any) -> Hint:
    """Ids only: the rest of an event may hold secrets (placet.md §5.3)."""
    said = data if isinstance(data, Mapping) else {}
    message_id = said.get("messageId") or said.get("message_id") or said.get("id")
    channel_id = said.get("channelId")
    return Hint(
        kind,
        channel_id if isinstance(channel_id, str) else None,
        message_id if isinstance(message_id, str) else None,
    )


async def _connect(client: socketio.AsyncClient, base_url: str, api_key: str, wait: float) -> None:
    parts = urlsplit(base_url)
    path = f"{parts.path.strip('/')}/socket.io".lstrip("/")
    refusals: list[str] = []
    client.on("connect_error", lambda data=None: refusals.append(_words(data)), namespace=NAMESPACE)
    try:
        await client.connect(
            f"{parts.scheme}://{parts.netloc}",
            auth={"apiKey": api_key},
            namespaces=[NAMESPACE],
            socketio_path=path,
            wait_timeout=wait,
        )
    except RefusedConnection as error:
        said = clean("; ".join(filter(None, refusals)) or str(error), 200).replace(api_key, "***")
        if any(word in said.lower() for word in _UNAUTHORIZED):
            raise AuthenticationFailed(
                f"Placet's event channel refused the key: {said}", system=operations.SYSTEM
            ) from None
        raise NotSent(
            f"no event channel at {parts.scheme}://{parts.netloc}/{path} ({said}); reviews are still read "
            "by polling",
            system=operations.SYSTEM,
        ) from None


def _words(data: Any) -> str:
    said = data.get("message", "") if isinstance(data, Mapping) else data
    return str(said or "")
