"""Ways to take a ledger's database away for a while."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.engine import make_url

from plait.ledger.database import Database


@dataclass
class Outage:
    """`begin` and `end`; between them no write is possible."""

    url: str
    """Where the ledger must be opened for the outage to be felt."""
    begin: Callable[[], None]
    end: Callable[[], None]
    mute: Callable[[], None] | None = None
    """PostgreSQL: connections stand, also new ones, and nothing passes any more."""


def easily_upset(url: str, *, silence: float = 30.0) -> Database:
    """Notices an outage soon. A busy machine is none: PostgreSQL would end its own slow transactions."""
    return Database(url, busy_timeout=2.0 if "://" in url else 0.05, silence=silence)


@asynccontextmanager
async def outage_of(url: str) -> AsyncIterator[Outage]:
    """SQLite: another connection holds the write lock. PostgreSQL: a proxy on the way is cut."""
    async with _proxied(url) if "://" in url else _lockable(Path(url)) as outage:
        yield outage


@asynccontextmanager
async def _lockable(path: Path) -> AsyncIterator[Outage]:
    other = sqlite3.connect(path, isolation_level=None, timeout=10)

    def begin() -> None:
        other.execute("BEGIN EXCLUSIVE")

    def end() -> None:
        if other.in_transaction:
            other.execute("ROLLBACK")

    yield Outage(str(path), begin, end)
    end()
    other.close()


@dataclass
class _Proxy:
    host: str
    port: int
    up: bool = True
    passing: asyncio.Event = field(default_factory=asyncio.Event)
    writers: set[asyncio.StreamWriter] = field(default_factory=set)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.up:
            writer.close()
            return
        if self.host.startswith("/"):
            there = await asyncio.open_unix_connection(f"{self.host}/.s.PGSQL.{self.port}")
        else:
            there = await asyncio.open_connection(self.host, self.port)
        self.writers |= {writer, there[1]}
        for source, target in ((reader, there[1]), (there[0], writer)):
            task = asyncio.create_task(self._pump(source, target))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                await self.passing.wait()
                target.write(data)
        except ConnectionError:
            pass
        finally:
            target.close()

    def cut(self) -> None:
        self.up = False
        for writer in self.writers:
            writer.transport.abort()
        self.writers.clear()

    def mend(self) -> None:
        self.up = True
        self.passing.set()


@asynccontextmanager
async def _proxied(url: str) -> AsyncIterator[Outage]:
    parsed = make_url(url)
    host = parsed.host or str(parsed.query.get("host", "127.0.0.1"))
    proxy = _Proxy(host, parsed.port or 5432)
    proxy.mend()
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    query = {name: value for name, value in parsed.query.items() if name != "host"}
    here = parsed.set(host="127.0.0.1", port=server.sockets[0].getsockname()[1], query=query)
    try:
        address = here.render_as_string(hide_password=False)
        yield Outage(address, proxy.cut, proxy.mend, proxy.passing.clear)
    finally:
        proxy.mend()
        proxy.cut()
        server.close()
        await asyncio.gather(*proxy.tasks, return_exceptions=True)
