"""Bringing a ledger's schema up to date, once, whoever comes first."""

import threading
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

from plait.ledger.database import Database

HEAD: Final = "0001"
"""The newest revision; a test holds it against the migration folder."""
_LOCK: Final = 0x504C414954
_ONE_AT_A_TIME: Final = threading.Lock()
"""alembic's context is one for the whole process: two threads would write into each other's database."""


def upgrade(database: Database, revision: str = "head") -> None:
    """Migrate to `revision`; a ledger that is up to date costs one query."""
    if revision == "head" and database.read_now(current) == HEAD:
        return
    database.write_now(lambda connection: _run(database, connection, revision, down=False), commit="claim")


def downgrade(database: Database, revision: str) -> None:
    """Migrate back to `revision` (`base` removes every table)."""
    database.write_now(lambda connection: _run(database, connection, revision, down=True), commit="claim")


def current(connection: Connection) -> str | None:
    """The revision a ledger is at."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def _run(database: Database, connection: Connection, revision: str, *, down: bool) -> None:
    # alembic is imported only where a migration runs: opening an up-to-date ledger stays cheap.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    if not database.is_sqlite:  # SQLite's BEGIN IMMEDIATE already lets one migrate at a time
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    with _ONE_AT_A_TIME:
        (command.downgrade if down else command.upgrade)(config, revision)
