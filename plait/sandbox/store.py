"""The sandbox's memory: one SQLite file in which an entity and its effect row are one commit.

The effect rows are the judge of "exactly once": they are counted here, at the far end, and survive
a kill of the sandbox. All SQLite work happens on one thread, so the event loop never blocks and
transactions follow each other.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict

from plait.http.errors import ConfigurationError
from plait.http.operation import Operation
from plait.sandbox.request import RequestInfo, current_request

_SCHEMA = """
CREATE TABLE IF NOT EXISTS effect (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    service TEXT NOT NULL, operation TEXT NOT NULL, entity_id TEXT NOT NULL, marker TEXT NOT NULL,
    external_key TEXT, at REAL NOT NULL, request INTEGER
);
CREATE INDEX IF NOT EXISTS effect_operation ON effect (service, operation, marker);
CREATE TABLE IF NOT EXISTS entity (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL, id TEXT NOT NULL, parent TEXT NOT NULL, visible_at REAL NOT NULL,
    data TEXT NOT NULL, UNIQUE (kind, id)
);
CREATE INDEX IF NOT EXISTS entity_parent ON entity (kind, parent, seq);
"""


class Entity(BaseModel):
    """Something a stand-in stores. A subclass sets `kind` and adds its own fields."""

    model_config = ConfigDict(extra="forbid")

    kind: ClassVar[str]

    id: str
    parent: str = ""
    """What lists are narrowed by: a workspace, a conversation."""
    created_at: datetime


class EffectRow(BaseModel):
    """One accepted effect."""

    seq: int
    service: str
    operation: str
    entity_id: str
    marker: str
    """What a judge knows the effect by: a digest of the uploaded bytes, a name, a text's digest."""
    external_key: str | None
    """The caller's own key, where the vendor takes one."""
    at: float
    """Unix seconds, never skewed."""
    request: int | None
    """Number of the request since the sandbox started; None for work without a request."""


E = TypeVar("E", bound=Entity)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Transaction:
    """What may be done inside one commit; only valid inside `Store.transact`."""

    connection: sqlite3.Connection
    request: RequestInfo | None

    def put(self, entity: Entity) -> None:
        """Insert, or replace while keeping its place in lists. A new one obeys the listing lag."""
        lag = self.request.listing_lag if self.request else 0.0
        self.connection.execute(
            "INSERT INTO entity (kind, id, parent, visible_at, data) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (kind, id) DO UPDATE SET parent = excluded.parent, data = excluded.data",
            (entity.kind, entity.id, entity.parent, time.time() + lag, entity.model_dump_json()),
        )

    def get(self, model: type[E], entity_id: str) -> E | None:
        """One entity by its id, lagging or not."""
        row = self.connection.execute(
            "SELECT data FROM entity WHERE kind = ? AND id = ?", (model.kind, entity_id)
        ).fetchone()
        return None if row is None else model.model_validate_json(row[0])

    def effects(
        self, *, service: str | None = None, operation: str | None = None, marker: str | None = None
    ) -> list[EffectRow]:
        """Accepted effects in the order of their commits, narrowed by what is given."""
        wanted = {"service": service, "operation": operation, "marker": marker}
        given = {name: value for name, value in wanted.items() if value is not None}
        where = " AND ".join(f"{name} = :{name}" for name in given) or "1"
        cursor = self.connection.execute(
            f"SELECT * FROM effect WHERE {where} ORDER BY seq",  # noqa: S608 - the names are the three above
            given,
        )
        names = [column[0] for column in cursor.description]
        return [EffectRow(**dict(zip(names, row, strict=True))) for row in cursor]

    def list(self, model: type[E], *, parent: str | None = None) -> list[E]:
        """Everything a list of the vendor would show, oldest first."""
        rows = self.connection.execute(
            "SELECT data FROM entity WHERE kind = ? AND (? IS NULL OR parent = ?) AND visible_at <= ?"
            " ORDER BY seq",
            (model.kind, parent, parent, time.time()),
        )
        return [model.model_validate_json(row[0]) for row in rows]

    def delete(self, model: type[E], entity_id: str) -> bool:
        """Remove one entity; False when it was not there."""
        statement = "DELETE FROM entity WHERE kind = ? AND id = ?"
        return self.connection.execute(statement, (model.kind, entity_id)).rowcount > 0

    def record(
        self, operation: Operation, *, entity_id: str, marker: str, external_key: str | None = None
    ) -> None:
        """Count one effect of `operation`; it commits together with the entity it made."""
        self.connection.execute(
            "INSERT INTO effect (service, operation, entity_id, marker, external_key, at, request)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                operation.system,
                operation.name,
                entity_id,
                marker,
                external_key,
                time.time(),
                self.request.number if self.request else None,
            ),
        )


class Store:
    """The SQLite file. Usable between `open` and `close`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sandbox-store")
        self._connection: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Create or open the file.

        Raises:
            ConfigurationError: the folder is missing, or the file is not a sandbox state.
        """
        await asyncio.get_running_loop().run_in_executor(self._thread, self._open)

    def _open(self) -> None:
        try:
            connection = sqlite3.connect(self.path, isolation_level=None)
            connection.execute("PRAGMA journal_mode=WAL")
            # A commit reaches the kernel: it survives a kill of the process, not a power cut.
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise ConfigurationError(
                f"the sandbox cannot keep its state in {str(self.path)!r} ({error}); "
                "name a file in a folder that exists, one that an earlier sandbox made or none yet"
            ) from error
        self._connection = connection

    async def close(self) -> None:
        """Finish what is running and close the file."""
        if self._connection is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._connection.close)
        self._thread.shutdown(wait=False)

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` as one transaction: all of it is committed, or, when it raises, none of it."""
        request = current_request.get()
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._transact, work, request)

    def _transact(self, work: Callable[[Transaction], T], request: RequestInfo | None) -> T:
        if self._connection is None:
            raise ConfigurationError("the sandbox store is not open; use it inside the server's lifespan")
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            result = work(Transaction(self._connection, request))
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")
        return result

    async def get(self, model: type[E], entity_id: str) -> E | None:
        """One entity by its id, lagging or not."""
        return await self.transact(lambda transaction: transaction.get(model, entity_id))

    async def list(self, model: type[E], *, parent: str | None = None) -> list[E]:
        """Everything a list of the vendor would show, oldest first."""
        return await self.transact(lambda transaction: transaction.list(model, parent=parent))
