"""Questions, and the register of ledger instances."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from plait.http.operation import Operation
from plait.ledger.database import Database
from plait.ledger.store.rows import (
    ATTEMPT,
    EFFECT,
    OPEN_ATTEMPT,
    PROCESS,
    AnyRow,
)


def effect_of(connection: Connection, external_id: str) -> AnyRow:
    """One effect's row."""
    return connection.execute(select(EFFECT).where(EFFECT.c.external_id == external_id)).one()


def first_sent_at(connection: Connection, external_id: str) -> float | None:
    """When the first permit was taken (E4)."""
    value: float | None = connection.execute(
        select(func.min(ATTEMPT.c.sent_at)).where(ATTEMPT.c.external_id == external_id)
    ).scalar()
    return value


def taken(
    connection: Connection, external_id: str, operation: Operation, vendor_ids: Sequence[str]
) -> set[str]:
    """Which of these are results of other effects."""
    found_rows = connection.execute(
        select(EFFECT.c.vendor_id).where(
            EFFECT.c.system == operation.system,
            EFFECT.c.operation == operation.name,
            EFFECT.c.vendor_id.in_(vendor_ids),
            EFFECT.c.external_id != external_id,
        )
    )
    return set(found_rows.scalars())


def processes(connection: Connection, holders: Iterable[str]) -> list[AnyRow]:
    """What is known of these ledger instances."""
    return list(connection.execute(select(PROCESS).where(PROCESS.c.holder.in_(list(holders)))))


def unended(connection: Connection) -> list[AnyRow]:
    """The ledger instances whose end nobody has recorded."""
    return list(connection.execute(select(PROCESS).where(PROCESS.c.ended_at.is_(None))))


def bury(db: Database, connection: Connection, holders: Iterable[str]) -> None:
    """These instances are proved dead: retention may drop their rows in time."""
    connection.execute(
        update(PROCESS)
        .where(PROCESS.c.holder.in_(list(holders)), PROCESS.c.ended_at.is_(None))
        .values(ended_at=db.now(connection))
    )


def register(connection: Connection, values: dict[str, Any]) -> None:
    """Write down a ledger instance."""
    connection.execute(insert(PROCESS).values(**values))


def deregister(db: Database, connection: Connection, holder: str) -> None:
    """The instance ended in order: it holds nothing and writes nothing any more."""
    now = db.now(connection)
    connection.execute(
        update(ATTEMPT)
        .where(ATTEMPT.c.holder == holder, OPEN_ATTEMPT, ATTEMPT.c.quiet_at.is_(None))
        .values(quiet_at=now, quiet_by="self")
    )
    connection.execute(update(EFFECT).where(EFFECT.c.holder == holder).values(holder=None, lease_until=None))
    connection.execute(update(PROCESS).where(PROCESS.c.holder == holder).values(ended_at=now))
    connection.execute(
        delete(PROCESS).where(
            PROCESS.c.holder == holder, ~select(ATTEMPT.c.n).where(ATTEMPT.c.holder == holder).exists()
        )
    )
