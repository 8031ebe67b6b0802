"""What a named person may decide, and what retention may drop."""

from collections.abc import Sequence
from typing import Any, Literal

from sqlalchemy import Connection, delete, func, select, update

from plait.http.errors import InvalidInput
from plait.ledger.database import Database
from plait.ledger.errors import EffectInProgress
from plait.ledger.recipe import Json
from plait.ledger.store.claims import busy
from plait.ledger.store.rows import (
    ATTEMPT,
    EFFECT,
    PROCESS,
    UNIT,
    AnyRow,
    done,
    free_unit,
    incident,
    lock,
    put,
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
    dead: frozenset[str] = frozenset(),
    sweep_in: float | None = None,
) -> None:
    """A person says what happened. `absent` lets the next run send; `landed` settles with `result`.

    `dead` are holders proved dead. What is called absent is looked for once more after `sweep_in`
    seconds, unless that is None. Raises `InvalidInput` when there is nothing to say, or a live runner
    holds it.
    """
    row = lock(connection, external_id)
    now = db.now(connection)
    if row.incident is None and row.state not in {State.SENT, State.UNKNOWN}:
        raise InvalidInput(f"{external_id} is {row.state}: there is nothing to resolve")
    if verdict == "absent" and row.state == State.DONE:
        raise InvalidInput(
            f"{external_id} is done as {row.vendor_id!r}: it cannot be absent. Remove what is one too many "
            "at the vendor and resolve it as landed; a genuine re-run is a new generation or run key"
        )
    if row.holder is not None and row.holder not in dead and (row.lease_until or 0.0) > now:
        raise InvalidInput(
            f"{external_id} is held by a live runner; wait for it, or end it, and resolve then"
        )
    words = {"by": by, "note": note, "verdict": verdict, "at": now, "incident": row.incident}
    outcomes = {AttemptOutcome.OPEN}
    values: dict[str, Any] = {"outcome": AttemptOutcome.LANDED, "absent_by": None, "answer": words}
    if verdict == "absent":
        outcomes.add(AttemptOutcome.LANDED)  # an incident's: the person has removed what landed
        values |= {"outcome": AttemptOutcome.ABSENT, "absent_by": "person"}
        values["next_sweep"] = None if sweep_in is None else now + sweep_in
    connection.execute(
        update(ATTEMPT)
        .where(ATTEMPT.c.external_id == external_id, ATTEMPT.c.outcome.in_(outcomes))
        .values(values)
    )
    put(connection, external_id, incident=None, reason=f"resolved as {verdict} by {by}: {note}")
    if verdict == "landed" and row.state != State.DONE:
        done(connection, row, now=now, result=result, vendor_id=vendor_id or "", visibility=0.0)
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
            .with_for_update(skip_locked=True)  # one that is being submitted again is left alone
        ).scalars()
    )
    if chosen:
        mine = EFFECT.c.external_id.in_(chosen)
        connection.execute(
            delete(ATTEMPT).where(ATTEMPT.c.external_id.in_(chosen), ATTEMPT.c.outcome != "open")
        )
        connection.execute(update(EFFECT).where(mine).values(baseline=None, compacted_at=db.now(connection)))
        connection.execute(update(EFFECT).where(mine, ~EFFECT.c.by_content).values(result=None, inputs=None))
    attempted = select(ATTEMPT.c.n).where(ATTEMPT.c.holder == PROCESS.c.holder).exists()
    holding = select(EFFECT.c.token).where(EFFECT.c.holder == PROCESS.c.holder).exists()
    connection.execute(delete(PROCESS).where(PROCESS.c.ended_at < before, ~attempted, ~holding))
    return len(chosen)


def swept(
    connection: Connection, external_id: str, *, looked_at: float, due: float | None, looked: bool
) -> None:
    """A sweep that began at `looked_at` saw nothing new; again at `due`, or never (None).

    One that could not look, because a runner was at it, does not count.
    """
    lock(connection, external_id)
    connection.execute(
        update(ATTEMPT)
        .where(ATTEMPT.c.external_id == external_id, ATTEMPT.c.next_sweep <= looked_at)
        .values(next_sweep=due, sweeps=ATTEMPT.c.sweeps + int(looked))
    )


def second_match(
    db: Database,
    connection: Connection,
    external_id: str,
    *,
    vendor_ids: Sequence[str],
    note: str,
) -> bool:
    """A sweep saw `vendor_ids`: where these are too many, an incident with every id, and no more sweeps.

    Entries that belong to other effects with an equal request are none too many: where the vendor's
    id is that of a place (a conversation), a look cannot leave them out by their ids.

    Raises `EffectInProgress` while another effect of the unit is at work or unsettled: its entry is
    nobody's in the ledger yet.
    """
    row = lock(connection, external_id)
    now = db.now(connection)
    rival = _rival(connection, row, now)  # first: one that settles after this is among the twins
    twins = _twins(connection, row, vendor_ids)
    ours = row.state == State.DONE
    another = ours and not twins and len(vendor_ids) == 1 and row.vendor_id not in {"", *vendor_ids}
    if len(vendor_ids) <= int(ours) + twins and not another:
        return False
    if rival is not None:
        raise EffectInProgress(f"one of these may be another effect's of {row.unit} ({rival})")
    incident(connection, row, now, note, [row.vendor_id, *vendor_ids])
    connection.execute(update(ATTEMPT).where(ATTEMPT.c.external_id == external_id).values(next_sweep=None))
    return True


def _rival(connection: Connection, row: AnyRow, now: float) -> str | None:
    """Why another effect of the unit may have made what is not in the ledger yet; None where none may."""
    other = connection.execute(
        select(UNIT.c.external_id).where(UNIT.c.unit == row.unit, UNIT.c.external_id != row.external_id)
    ).scalar()
    return None if other is None else busy(connection, other, now)


def _twins(connection: Connection, row: AnyRow, vendor_ids: Sequence[str]) -> int:
    """Other effects whose equal request made something in the same place since this one was meant."""
    places = {row.vendor_id, *vendor_ids} - {None, ""}
    counted: int = connection.execute(
        select(func.count()).where(
            EFFECT.c.system == row.system,
            EFFECT.c.operation == row.operation,
            EFFECT.c.vendor_id.in_(sorted(places)),
            EFFECT.c.fingerprint == row.fingerprint,
            EFFECT.c.external_id != row.external_id,
            EFFECT.c.settled_at >= row.created_at,
        )
    ).scalar_one()
    return counted
