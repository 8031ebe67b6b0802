"""A scripted vendor on loopback, speaking raw HTTP so that every byte is the test's own."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest


@dataclass(frozen=True)
class Received:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """One answer; `pieces` are written one after the other, `cut` ends the connection without its end."""

    status: int = 200
    pieces: tuple[bytes, ...] = ()
    media_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    cut: bool = False
    gate: asyncio.Event | None = None
    """The last piece waits for it."""


def said(value: Any, status: int = 200) -> Reply:
    """A JSON answer."""
    return Reply(status, (json.dumps(value).encode(),))


Handler = Callable[[Received], Reply | None]


@dataclass
class Vendor:
    """Answers by `handler` and keeps what it was asked; None hangs up without a word."""

    url: str = ""
    handler: Handler = field(default=lambda _: said({"detail": "Not Found"}, 404))
    asked: list[Received] = field(default_factory=list)

    def calls(self) -> list[str]:
        """Method and path of every request."""
        return [f"{request.method} {request.path}" for request in self.asked]


async def _read(reader: asyncio.StreamReader) -> Received | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = head.strip().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    parts = urlsplit(target)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    return Received(method, parts.path, query, headers, body)


async def _write(writer: asyncio.StreamWriter, reply: Reply) -> None:
    extra = "".join(f"{name}: {value}\r\n" for name, value in reply.headers)
    writer.write(
        f"HTTP/1.1 {reply.status} X\r\nContent-Type: {reply.media_type}\r\n{extra}"
        "Transfer-Encoding: chunked\r\n\r\n".encode("latin-1")
    )
    for piece in filter(None, reply.pieces):
        if reply.gate is not None and piece is reply.pieces[-1]:
            await reply.gate.wait()
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        await writer.drain()
        await asyncio.sleep(0)
    if not reply.cut:
        writer.write(b"0\r\n\r\n")
    await writer.drain()


@pytest.fixture
async def vendor() -> AsyncIterator[Vendor]:
    """A vendor at `vendor.url`; set `vendor.handler`."""
    state = Vendor()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await _read(reader)) is not None:
                state.asked.append(request)
                reply = state.handler(request)
                if reply is None:
                    return
                await _write(writer, reply)
                if reply.cut:
                    return
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    state.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield state
    server.close()


@pytest.fixture
def answer() -> Callable[..., Reply]:
    """Makes a JSON answer."""
    return said


@pytest.fixture
def reply() -> type[Reply]:
    """Makes any answer."""
    return Reply


class StillClock:
    """A clock whose waits are over at once."""

    def __init__(self) -> None:
        self._now = 0.0

    def now(self) -> float:
        """Seconds since the start."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Let others run, and the time pass."""
        self._now += max(0.0, seconds)
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> StillClock:
    """A clock for retries without waiting."""
    return StillClock()
