"""Bringing a ledger's schema up to date, once, whoever comes first."""

import threading
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

from plait.http.errors import ConfigurationError
from plait.ledger.database import Database

HEAD: Final = "0005"
"""The newest revision; a test holds it against the migration folder."""
_LOCK: Final = 0x504C414954
_ALONE: Final = threading.Lock()
"""alembic keeps the connection of the running migration in a global of the process."""


def upgrade(database: Database, revision: str = "head") -> None:
    """Migrate to `revision`; a ledger that is up to date costs one query.

    Raises `ConfigurationError` for a ledger that a newer version of Plait has migrated.
    """
    with database.impatient():
        found = database.read_now(current)
    if revision == "head" and found == HEAD:
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
    from alembic.util import CommandError  # noqa: PLC0415

    if not database.is_sqlite:  # SQLite's BEGIN IMMEDIATE already lets one migrate at a time
        connection.execute(text("SET LOCAL lock_timeout = 0"))
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        with _ALONE:
            (command.downgrade if down else command.upgrade)(config, revision)
    except CommandError as error:
        raise ConfigurationError(
            f"the ledger {database} is at revision {current(connection)}, this Plait knows {HEAD}: {error}; "
            "open it with the version that wrote it, or a newer one"
        ) from error
