"""A ledger for each case: a copied SQLite file, or one PostgreSQL schema for the whole run."""

import secrets
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import psycopg
from sqlalchemy import select

from plait.ledger.database import Database
from plait.ledger.migrate import upgrade
from plait.ledger.store import AnyRow
from plait.ledger.store.rows import ATTEMPT, EFFECT, PROCESS
from tests.support.postgres_server import postgres_url

Kind: TypeAlias = Literal["sqlite", "postgres"]


@dataclass(frozen=True, slots=True)
class Written:
    """What the ledger says of a case."""

    effects: list[AnyRow]
    attempts: list[AnyRow]
    pids: dict[str, int] = field(default_factory=dict)
    """Process ids of the attempts' holders."""


@dataclass(frozen=True, slots=True)
class Ledgers:
    """Where the cases of one run keep their ledgers."""

    kind: Kind
    place: str
    """A migrated file to copy, or the URL of the schema."""

    def url(self, folder: Path) -> str:
        """The ledger of a case that lives in `folder`."""
        if self.kind == "postgres":
            return self.place
        path = folder / "ledger.db"
        shutil.copyfile(self.place, path)
        return str(path)

    @staticmethod
    def read(url: str, run_key: str) -> Written:
        """Everything the ledger wrote under one run key."""
        database = Database(url)
        try:
            mine = EFFECT.c.run_key == run_key
            ids = select(EFFECT.c.external_id).where(mine)
            effects = database.read_now(
                lambda connection: list(connection.execute(select(EFFECT).where(mine)))
            )
            attempts = database.read_now(
                lambda connection: list(
                    connection.execute(select(ATTEMPT).where(ATTEMPT.c.external_id.in_(ids)))
                )
            )
            holders = {attempt.holder for attempt in attempts}
            known = select(PROCESS).where(PROCESS.c.holder.in_(holders))
            processes = database.read_now(lambda connection: list(connection.execute(known)))
        finally:
            database.stop()
        return Written(effects, attempts, {row.holder: row.pid for row in processes})


@contextmanager
def open_ledgers(kind: Kind, folder: Path) -> Iterator[Ledgers]:
    """Migrated ledgers; the schema is dropped at the end."""
    if kind == "sqlite":
        place = folder / "template.db"
        _migrate(str(place))
        _checkpoint(place)
        yield Ledgers(kind, str(place))
        return
    with postgres_url() as base, psycopg.connect(base, autocommit=True) as connection:
        schema = f"plait_chaos_{secrets.token_hex(6)}"
        connection.execute(f"CREATE SCHEMA {schema}".encode())
        try:
            url = f"{base}?options=-csearch_path%3D{schema}"
            _migrate(url)
            yield Ledgers(kind, url)
        finally:
            connection.execute(f"DROP SCHEMA {schema} CASCADE".encode())


def _migrate(url: str) -> None:
    database = Database(url)
    upgrade(database)
    database.stop()


def _checkpoint(path: Path) -> None:
    """Everything into the one file that is copied."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    for suffix in ("-wal", "-shm"):
        if (rest := path.with_name(path.name + suffix)).exists():
            rest.unlink()
