"""Step 7: what a look may settle."""

from collections.abc import Iterable
from typing import Final

from sqlalchemy import Connection, update

from plait.http.operation import Effect, Operation
from plait.ledger.database import Database
from plait.ledger.recipe import Json
from plait.ledger.settle import absent_from, first_sweep
from plait.ledger.store.attempts import holds_unit, reject_row
from plait.ledger.store.rows import (
    ATTEMPT,
    AnyRow,
    Claim,
    TooEarly,
    attempts_of,
    close_at,
    done,
    incident,
    lock,
    still_open,
)
from plait.ledger.tables import AttemptOutcome, State
from plait.ledger.timing import Timing

_REFUSALS: Final = frozenset(range(400, 500)) - {429}


def found(
    db: Database,
    connection: Connection,
    claimed: Claim,
    *,
    seen: int,
    result: Json,
    vendor_id: str,
    visibility: float,
) -> bool:
    """Exactly one match: the effect is done. False when the row moved on under this claim."""
    row = lock(connection, claimed.external_id)
    if row.state == State.DONE:
        return bool(row.vendor_id == vendor_id)
    if row.token != claimed.token or row.attempts != seen or not holds_unit(connection, row):
        return False  # without its unit, what was seen may be another effect's
    now = db.now(connection)
    answer = {"vendor_id": vendor_id}
    for attempt in still_open(attempts_of(connection, row.external_id)):
        close_at(
            connection, row.external_id, attempt.nonce, now=now, outcome=AttemptOutcome.LANDED, answer=answer
        )
    done(connection, row, now=now, result=result, vendor_id=vendor_id, visibility=visibility)
    return True


def absent(
    db: Database,
    connection: Connection,
    claimed: Claim,
    *,
    seen: int,
    looked_at: float,
    operation: Operation,
    timing: Timing,
) -> State | TooEarly | None:
    """Nothing there, by a look that began at `looked_at`: E3 decides whether that counts.

    None when the row moved on. `rejected` when a later attempt was refused meanwhile. What is `BLIND`
    is never absent.
    """
    row = lock(connection, claimed.external_id)
    if row.token != claimed.token or row.attempts != seen:
        return None
    if row.state not in {State.SENT, State.UNKNOWN}:
        return State.REJECTED if row.state == State.REJECTED else None  # our own verdict, answer lost
    attempts = attempts_of(connection, claimed.external_id)
    pending = still_open(attempts)
    bound = absent_from(pending, operation, timing)
    now = db.now(connection)
    if pending and operation.effect is Effect.BLIND:
        return TooEarly(at=None, now=now, silent_holder=None)
    if bound is None or looked_at < bound:
        silent = next((a.holder for a in pending if a.quiet_at is None), None)
        return TooEarly(at=bound, now=now, silent_holder=silent)
    sweep = first_sweep(operation, timing, now)
    for attempt in pending:
        by = "time" if attempt.quiet_at is None else "proof"
        connection.execute(
            update(ATTEMPT)
            .where(ATTEMPT.c.external_id == attempt.external_id, ATTEMPT.c.n == attempt.n)
            .values(
                outcome=AttemptOutcome.ABSENT,
                absent_by=by,
                next_sweep=sweep,
            )
        )
    doubted = min((attempt.n for attempt in pending), default=0)
    refusal = next((a for a in attempts if _is_final(a) and a.n > doubted > 0), None)
    if refusal is not None:  # refused while an earlier request was still on its way: now that is settled too
        reason = str((refusal.answer or {}).get("message", "refused"))
        return reject_row(db, connection, row, token=claimed.token, reason=reason)
    return State(row.state)


def _is_final(attempt: AnyRow) -> bool:
    """Refused as such; not only put off (429) or sent elsewhere (a slash redirect)."""
    status = (attempt.answer or {}).get("status") or 0
    return attempt.outcome == AttemptOutcome.REFUSED and status in _REFUSALS


def give_up(db: Database, connection: Connection, claimed: Claim, *, reason: str) -> State:
    """Every attempt is proved absent and another would fail the same way: settled as refused."""
    row = lock(connection, claimed.external_id)
    return reject_row(db, connection, row, token=claimed.token, reason=reason)


def several(
    db: Database, connection: Connection, claimed: Claim, *, vendor_ids: Iterable[str], note: str
) -> None:
    """More than one match: for a person."""
    row = lock(connection, claimed.external_id)
    if row.token == claimed.token:
        incident(connection, row, db.now(connection), note, vendor_ids)
