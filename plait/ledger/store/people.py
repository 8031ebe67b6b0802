"""What a named person may decide, and what retention may drop."""

from typing import Literal

from sqlalchemy import Connection, delete, select, update

from plait.http.errors import InvalidInput
from plait.ledger.database import Database
from plait.ledger.recipe import Json
from plait.ledger.store.rows import (
    ATTEMPT,
    EFFECT,
    PROCESS,
    attempts_of,
    done,
    free_unit,
    incident,
    lock,
    put,
    still_open,
)
from plait.ledger.tables import AttemptOutcome, State


def resolve(
    db: Database,
    connection: Connection,
    external_id: str,
    *,
    verdict: Literal["landed", "absent"],
    by: str,
    note: str,
    result: Json = None,
    vendor_id: str | None = None,
) -> None:
    """A person says what happened. `absent` lets the next run send; `landed` settles with `result`.

    Raises `InvalidInput` when the effect is settled, or held by a live runner.
    """
    row = lock(connection, external_id)
    now = db.now(connection)
    if row.incident is None and row.state not in {State.SENT, State.UNKNOWN}:
        raise InvalidInput(f"{external_id} is {row.state}: there is nothing to resolve")
    if row.holder is not None and (row.lease_until or 0.0) > now:
        raise InvalidInput(
            f"{external_id} is held by a live runner; wait for it, or end it, and resolve then"
        )
    words = {"by": by, "note": note, "verdict": verdict, "at": now, "incident": row.incident}
    for attempt in still_open(attempts_of(connection, external_id)):
        outcome = AttemptOutcome.LANDED if verdict == "landed" else AttemptOutcome.ABSENT
        connection.execute(
            update(ATTEMPT)
            .where(ATTEMPT.c.external_id == external_id, ATTEMPT.c.n == attempt.n)
            .values(outcome=outcome, absent_by="person" if verdict == "absent" else None, answer=words)
        )
    put(connection, external_id, incident=None, reason=f"resolved as {verdict} by {by}: {note}")
    if verdict == "landed" and row.state != State.DONE:
        done(connection, external_id, now=now, result=result, vendor_id=vendor_id or "", visibility=0.0)
    elif verdict == "absent":
        put(connection, external_id, state=State.INTENDED, holder=None, next_look=None, token=row.token + 1)
        free_unit(connection, external_id)


def compact(db: Database, connection: Connection, *, older_than: float, limit: int = 1000) -> int:
    """Drop what settled effects no longer need; never the identity, so no window re-opens.

    The row stays with its id, fingerprint, state and vendor id. Effects by content keep their small
    results, because every later run reads them. Open effects, incidents and sweeps are not touched.
    """
    before = db.now(connection) - older_than
    waiting = select(ATTEMPT.c.external_id).where(ATTEMPT.c.next_sweep.is_not(None))
    chosen = list(
        connection.execute(
            select(EFFECT.c.external_id)
            .where(EFFECT.c.settled_at < before, EFFECT.c.compacted_at.is_(None), EFFECT.c.incident.is_(None))
            .where(EFFECT.c.state.in_([State.DONE, State.REJECTED]), EFFECT.c.external_id.not_in(waiting))
            .order_by(EFFECT.c.settled_at)
            .limit(limit)
        ).scalars()
    )
    if chosen:
        mine = EFFECT.c.external_id.in_(chosen)
        connection.execute(
            delete(ATTEMPT).where(ATTEMPT.c.external_id.in_(chosen), ATTEMPT.c.outcome != "open")
        )
        connection.execute(update(EFFECT).where(mine).values(baseline=None, compacted_at=db.now(connection)))
        connection.execute(update(EFFECT).where(mine, ~EFFECT.c.by_content).values(result=None, inputs=None))
    known = select(ATTEMPT.c.holder).union(select(EFFECT.c.holder).where(EFFECT.c.holder.is_not(None)))
    connection.execute(delete(PROCESS).where(PROCESS.c.ended_at < before, PROCESS.c.holder.not_in(known)))
    return len(chosen)


def swept(db: Database, connection: Connection, external_id: str, *, again_in: float | None) -> None:
    """A sweep saw nothing new; look again later, or never (None)."""
    lock(connection, external_id)
    due = None if again_in is None else db.now(connection) + again_in
    connection.execute(
        update(ATTEMPT)
        .where(ATTEMPT.c.external_id == external_id, ATTEMPT.c.next_sweep.is_not(None))
        .values(next_sweep=due, sweeps=ATTEMPT.c.sweeps + 1)
    )


def second_match(
    db: Database, connection: Connection, external_id: str, *, vendor_ids: list[str], note: str
) -> None:
    """A sweep found what should not be there: an incident with every id, and no more sweeps."""
    row = lock(connection, external_id)
    incident(connection, row, db.now(connection), note, [row.vendor_id, *vendor_ids])
    connection.execute(update(ATTEMPT).where(ATTEMPT.c.external_id == external_id).values(next_sweep=None))
