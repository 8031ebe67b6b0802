"""The sandbox's grip on the connection: close it, reset it, keep a request to deliver it again."""

import asyncio
import socket
import struct
import tempfile
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Literal, Self, TypeAlias

from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

Delivery: TypeAlias = Callable[[Receive, Send], Awaitable[None]]
"""Hands the request to whatever comes next; may be awaited more than once."""

How: TypeAlias = Literal["close", "reset"]
"""`close` sends what is buffered and a FIN; `reset` sends a RST."""

_TRANSPORT: Final = "plait.transport"
_CHUNK: Final = 64 * 1024
_SPOOL: Final = 1024 * 1024
_LINGER_NOTHING: Final = struct.pack("ii", 1, 0)
_FLUSHED: Final = 0.05
"""Seconds that a peer gets to read the last bytes before a reset throws them away."""


class WiredProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 that puts the connection's transport into the scope of each request."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Send each write at once: head and body are two, and Nagle would hold the second for 40 ms."""
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connection_made(transport)

    def handle_events(self) -> None:
        """Wrap the application once the connection is known."""
        self.app = self._wired
        super().handle_events()

    async def _wired(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("extensions", {})[_TRANSPORT] = self.transport
        await self.config.loaded_app(scope, receive, send)


async def drop(scope: Scope, how: How) -> None:
    """End the connection under the request; nothing more reaches the client."""
    transport: asyncio.Transport = scope["extensions"][_TRANSPORT]
    if transport.is_closing():
        return
    if how == "close":
        transport.close()
        return
    if transport.get_write_buffer_size():
        await asyncio.sleep(_FLUSHED)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOTHING)
    transport.abort()


async def gone(receive: Receive) -> None:
    """Return when the connection has ended, whoever ended it; reads and forgets what still comes."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def drained(receive: Receive) -> bool:
    """Read and forget the request's body; False when the client hung up before its end."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return False
        if not message.get("more_body", False):
            return True


def deaf(receive: Receive) -> Receive:
    """The request as it comes, but without the news that the client hung up after its end."""
    ended = False

    async def listen() -> Message:
        nonlocal ended
        if ended:
            await asyncio.Event().wait()
        message = await receive()
        ended = message["type"] == "http.request" and not message.get("more_body", False)
        return message

    return listen


async def discard(_: Message) -> None:
    """Take an answer that nobody will see."""


class Spool:
    """A request body, kept on disk beyond a megabyte, that can be delivered any number of times."""

    def __init__(self) -> None:
        # Closed by `close`.
        self._file = tempfile.SpooledTemporaryFile(max_size=_SPOOL)  # noqa: SIM115 - see above

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Forget the body."""
        self._file.close()

    async def fill(self, receive: Receive) -> bool:
        """Read the whole body; False when the client hung up before its end."""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return False
            await asyncio.to_thread(self._file.write, message.get("body", b""))
            if not message.get("more_body", False):
                return True

    def replay(self) -> Receive:
        """A fresh `receive` that gives the kept body and then nothing, ever."""
        offset = 0
        ended = False

        async def receive() -> Message:
            nonlocal offset, ended
            if ended:
                await asyncio.Event().wait()
            chunk = await asyncio.to_thread(self._read, offset)
            offset += len(chunk)
            ended = len(chunk) < _CHUNK
            return {"type": "http.request", "body": chunk, "more_body": not ended}

        return receive

    def _read(self, offset: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(_CHUNK)
