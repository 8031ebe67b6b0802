"""A server that sends exactly the bytes a test says, a guard that takes notes, virtual time."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from plait import failpoints
from plait.http import RetryPolicy, Transport
from plait.http.errors import RequestRejected
from plait.http.guard import send_guard
from plait.http.operation import Effect, Operation, Source, Timeouts

SECRET = "pk_live_do_not_leak_me"  # noqa: S105 -- not a secret: the word the tests look for


@dataclass
class Seen:
    """One request as it came off the wire."""

    head: bytes
    body: bytes = b""
    whole: bool = False

    @property
    def line(self) -> str:
        """Method, target and version."""
        return self.head.split(b"\r\n", 1)[0].decode()

    def header(self, name: str) -> str | None:
        """One header as it was sent."""
        for line in self.head.decode("latin-1").split("\r\n")[1:]:
            key, _, value = line.partition(": ")
            if key.lower() == name.lower():
                return value
        return None


Step = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class RawServer:
    """Answers the n-th request with the n-th step, the last one for ever."""

    key: str = SECRET
    steps: list[Step] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    resets: int = 0
    url: str = ""
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either side ends it."""
        self.connections += 1
        self.open += 1
        self.idle.clear()
        self.tasks.add(asyncio.current_task())
        try:
            while await self._request(reader, writer):
                pass
        except ConnectionError:
            self.resets += 1
        except asyncio.CancelledError:
            pass  # the end of the test, which asyncio would otherwise log as an error
        finally:
            self.open -= 1
            writer.close()
            if not self.open:
                self.idle.set()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        request = Seen(b"")
        try:
            request.head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                self.seen.append(Seen(error.partial))
            return False
        self.seen.append(request)
        length = int(request.header("content-length") or 0)
        while len(request.body) < length:
            chunk = await reader.read(65536)
            if not chunk:
                return False
            request.body += chunk
        request.whole = True
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        if isinstance(step, bytes):
            writer.write(step)
            await writer.drain()
        else:
            await step(writer)
        return not writer.is_closing()

    @staticmethod
    def answer(status: int = 200, body: bytes = b"{}", **headers: str) -> bytes:
        """One whole answer; header names are written with underscores."""
        return answer(status, body, **headers)

    @staticmethod
    def cut(data: bytes) -> Step:
        """Send `data` and hang up."""

        async def step(writer: asyncio.StreamWriter) -> None:
            writer.write(data)
            await writer.drain()
            writer.close()

        return step

    @staticmethod
    async def silence(_: asyncio.StreamWriter) -> None:
        """Never answer."""
        await asyncio.Event().wait()

    async def settled(self) -> None:
        """Wait until every connection of the client is gone."""
        async with asyncio.timeout(60):
            await self.idle.wait()


def answer(status: int = 200, body: bytes = b"{}", **headers: str) -> bytes:
    """One whole answer; header names are written with underscores."""
    fields = {"content-type": "application/json", "content-length": str(len(body))}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


@dataclass
class VirtualClock:
    """Time that passes only when somebody waits."""

    time: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def now(self) -> float:
        """Virtual seconds."""
        return self.time

    async def sleep(self, seconds: float) -> None:
        """Let the seconds pass at once."""
        self.slept.append(seconds)
        self.time += max(0.0, seconds)
        await asyncio.sleep(0)


@dataclass
class RecordingGuard:
    """Writes down what the transport told it; `fails` maps a step to what it raises."""

    log: list[str] = field(default_factory=list)
    fails: dict[str, BaseException] = field(default_factory=dict)
    checks_left: int | None = None
    when: dict[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)

    async def _told(self, name: str) -> None:
        self.log.append(name)
        if name in self.when:
            await self.when[name]()
        if name in self.fails:
            raise self.fails[name]

    async def permit(self) -> None:
        """See `SendGuard`."""
        await self._told("permit")

    def check(self) -> None:
        """See `SendGuard`; `checks_left` counts down to the failure."""
        self.log.append("check")
        if self.checks_left is not None:
            self.checks_left -= 1
            if self.checks_left < 0:
                raise self.fails["check"]

    async def wrote(self) -> None:
        """See `SendGuard`."""
        await self._told("wrote")

    async def refused(self, error: RequestRejected) -> None:
        """See `SendGuard`."""
        await self._told(f"refused {error.status}")

    async def unsent(self) -> None:
        """See `SendGuard`."""
        await self._told("unsent")

    async def gave_up(self) -> None:
        """See `SendGuard`."""
        await self._told("gave_up")


def operation(
    method: Any = "GET", path: str = "/things", effect: Effect | None = None, **more: Any
) -> Operation:
    """An operation row; reads for GET, findable effects otherwise."""
    kind = effect or (Effect.READ if method == "GET" else Effect.FINDABLE)
    fast = Timeouts(connect=2, read=2, write=2, pool=2)
    settings = {"timeouts": fast, "deadline": 5.0, **more}
    return Operation(
        system="acme",
        name="act",
        method=method,
        path=path,
        effect=kind,
        source=Source.ASSUMED,
        reference="x",
        **settings,
    )


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    """A server whose bytes the test decides."""
    raw = RawServer(steps=[answer()])
    raw.idle.set()
    listener = await asyncio.start_server(raw.serve, "127.0.0.1", 0, limit=1024 * 1024)
    raw.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/api"
    yield raw
    listener.close()
    for task in raw.tasks:
        task.cancel()
    await asyncio.gather(*raw.tasks, return_exceptions=True)


@pytest.fixture
def clock() -> VirtualClock:
    """Virtual time for waits."""
    return VirtualClock()


@pytest.fixture
async def transport(server: RawServer, clock: VirtualClock) -> AsyncIterator[Transport]:
    """A transport to `server`, with a key that must never show."""
    headers = {"X-API-Key": SECRET}
    async with Transport(
        system="acme",
        base_url=server.url,
        headers=headers,
        clock=clock,
        seed=7,
        policy=RetryPolicy(attempts=4),
    ) as opened:
        yield opened


@pytest.fixture
def guard() -> Iterator[RecordingGuard]:
    """A guard in force, as the ledger would set one."""
    recording = RecordingGuard()
    token = send_guard.set(recording)
    yield recording
    send_guard.reset(token)


@pytest.fixture
def armed(guard: RecordingGuard) -> Iterator[list[str]]:
    """Every failpoint visited, between the guard's own notes."""
    failpoints.hook = guard.log.append
    yield guard.log
    failpoints.hook = None


@pytest.fixture
def make_operation() -> Callable[..., Operation]:
    """Makes rows of an operation table."""
    return operation


@pytest.fixture
def dead_url() -> Iterator[str]:
    """An address of this machine at which nobody listens: the port is bound, and closed to callers."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
