"""Steps 3 to 6: permits, silence, and what an answer means."""

from typing import Any, Final

from sqlalchemy import Connection, func, insert, select, update

from plait.http.operation import Effect, Operation
from plait.ledger.database import Database
from plait.ledger.recipe import Json
from plait.ledger.store.rows import (
    ATTEMPT,
    OPEN_ATTEMPT,
    UNIT,
    AnyRow,
    Claim,
    Permit,
    attempts_of,
    close,
    close_at,
    done,
    free_unit,
    incident,
    lock,
    put,
    require,
    still_open,
)
from plait.ledger.tables import AttemptOutcome, State

_NEW_ATTEMPT: Final = insert(ATTEMPT)


def permit(
    db: Database,
    connection: Connection,
    claimed: Claim,
    *,
    me: str,
    seen: int,
    nonce: str,
    window: float,
    keyed: bool,
) -> Permit:
    """Step 3: leave to write one request, or `PermitRefused`. One more attempt is written down."""
    row = lock(connection, claimed.external_id)
    now = db.now(connection)
    attempts = attempts_of(connection, claimed.external_id)
    mine = next((attempt for attempt in attempts if attempt.nonce == nonce), None)
    if mine is not None:  # our commit landed, its answer was lost
        require(mine.outcome == AttemptOutcome.OPEN, f"meanwhile the attempt was closed as {mine.outcome}")
        return Permit(n=mine.n, sent_at=mine.sent_at, send_by=mine.send_by)
    require(row.holder == me and row.token == claimed.token, "another runner has taken it over")
    require(row.lease_until is not None and row.lease_until > now, "its lease has run out")
    require(row.state in {State.INTENDED, State.SENT, State.UNKNOWN}, f"it is {row.state}")
    require(row.attempts == seen, "another attempt was made meanwhile")
    require(not any(a.outcome == AttemptOutcome.LANDED for a in attempts), "it has landed")
    require(keyed or not still_open(attempts), "an earlier attempt is unsettled")
    require(holds_unit(connection, row), "its unit's lock is gone")
    connection.execute(
        _NEW_ATTEMPT,
        {
            "external_id": claimed.external_id,
            "n": seen + 1,
            "nonce": nonce,
            "holder": me,
            "sent_at": now,
            "send_by": now + window,
            "outcome": AttemptOutcome.OPEN,
            "answered": False,
            "wrote_late": False,
            "sweeps": 0,
        },
    )
    put(connection, claimed.external_id, state=State.SENT, attempts=seen + 1)
    return Permit(n=seen + 1, sent_at=now, send_by=now + window)


def holds_unit(connection: Connection, row: AnyRow) -> bool:
    """Whether the effect's unit is its own, if it has one; locked, so that it stays so until our commit."""
    if row.unit is None:
        return True
    mine = select(UNIT.c.external_id).where(UNIT.c.unit == row.unit).with_for_update()
    return bool(connection.execute(mine).scalar() == row.external_id)


def quiet(
    db: Database,
    connection: Connection,
    external_id: str,
    nonce: str,
    *,
    answer: Json = None,
    answered: bool = False,
) -> None:
    """Step 5: this process writes nothing more for the attempt, and this is what it heard."""
    lock(connection, external_id)
    now = db.now(connection)
    values: dict[str, Any] = {
        "quiet_at": func.coalesce(ATTEMPT.c.quiet_at, now),
        "quiet_by": func.coalesce(ATTEMPT.c.quiet_by, "self"),
    }
    if answer is not None:
        values |= {"answer": answer, "answered": answered}
    connection.execute(
        update(ATTEMPT)
        .where(
            ATTEMPT.c.external_id == external_id,
            ATTEMPT.c.nonce == nonce,
            ATTEMPT.c.outcome.in_([AttemptOutcome.OPEN, AttemptOutcome.ABSENT]),  # the sweep waits for both
        )
        .values(**values)
    )


def wrote_late(
    db: Database, connection: Connection, external_id: str, nonce: str, *, sweep_in: float
) -> None:
    """The late writer reports itself; the sweep will look again."""
    lock(connection, external_id)
    connection.execute(
        update(ATTEMPT)
        .where(ATTEMPT.c.external_id == external_id, ATTEMPT.c.nonce == nonce)
        .values(wrote_late=True, next_sweep=db.now(connection) + sweep_in)
    )


def not_sent(db: Database, connection: Connection, external_id: str, nonce: str) -> None:
    """Nothing left the machine for this attempt."""
    close(db, connection, external_id, nonce, outcome=AttemptOutcome.NOT_SENT)


def prove(db: Database, connection: Connection, external_id: str, dead: frozenset[str]) -> None:
    """The holders in `dead` are proved dead: their attempts write nothing from now on."""
    lock(connection, external_id)
    silence(connection, external_id, dead, db.now(connection))


def silence(connection: Connection, external_id: str, dead: frozenset[str], now: float) -> None:
    """The attempts of these holders write nothing from now on."""
    for attempt in attempts_of(connection, external_id):
        if attempt.holder in dead and attempt.quiet_at is None:
            connection.execute(
                update(ATTEMPT)
                .where(ATTEMPT.c.external_id == external_id, ATTEMPT.c.n == attempt.n)
                .values(quiet_at=now, quiet_by="proof")
            )


def orphans(connection: Connection, me: str) -> list[tuple[str, str]]:
    """Open attempts under our name that nobody has closed yet: (external id, nonce)."""
    rows = connection.execute(
        select(ATTEMPT.c.external_id, ATTEMPT.c.nonce).where(
            ATTEMPT.c.holder == me, OPEN_ATTEMPT, ATTEMPT.c.quiet_at.is_(None)
        )
    )
    return [(row.external_id, row.nonce) for row in rows]


def land(
    db: Database,
    connection: Connection,
    external_id: str,
    nonce: str,
    *,
    result: Json,
    vendor_id: str,
    visibility: float,
) -> None:
    """Step 6, a complete 2xx: an answer is true whoever holds the lease, so no token is asked."""
    row = lock(connection, external_id)
    now = db.now(connection)
    attempts = attempts_of(connection, external_id)
    mine = next((a for a in attempts if a.nonce == nonce), None)  # retention may have dropped it
    answer = {"vendor_id": vendor_id}
    if mine is not None and mine.outcome == AttemptOutcome.LANDED and mine.answer == answer:
        return  # told before: our commit's answer was lost
    absent = mine is not None and mine.outcome == AttemptOutcome.ABSENT
    close_at(connection, external_id, nonce, now=now, outcome=AttemptOutcome.LANDED, answer=answer)
    if absent:
        incident(
            connection, row, now, "an attempt judged absent landed after all", [row.vendor_id, vendor_id]
        )
    elif row.state == State.REJECTED:
        incident(connection, row, now, "an effect judged refused landed after all", [vendor_id])
    elif row.state == State.DONE and row.vendor_id != vendor_id:
        incident(connection, row, now, "two attempts landed", [row.vendor_id, vendor_id])
    if row.state in {State.INTENDED, State.SENT, State.UNKNOWN}:
        for other in still_open(attempts):
            if other.nonce != nonce and not absent:  # more than one only under a key: that key has landed
                close_at(connection, external_id, other.nonce, now=now, outcome=AttemptOutcome.LANDED)
        done(connection, row, now=now, result=result, vendor_id=vendor_id, visibility=visibility)


def refuse(db: Database, connection: Connection, external_id: str, nonce: str, *, answer: Json) -> None:
    """An answer that claims nothing, after which the same claim goes on (429, slash redirect)."""
    close(db, connection, external_id, nonce, outcome=AttemptOutcome.REFUSED, answer=answer)


def reject(
    db: Database,
    connection: Connection,
    external_id: str,
    nonce: str,
    *,
    token: int,
    answer: Json,
    reason: str,
) -> State:
    """Step 6, a final 4xx: refused only when every other attempt is closed, else still unknown."""
    close(db, connection, external_id, nonce, outcome=AttemptOutcome.REFUSED, answer=answer)
    row = lock(connection, external_id)
    return reject_row(db, connection, row, token=token, reason=reason)


def reject_row(db: Database, connection: Connection, row: AnyRow, *, token: int, reason: str) -> State:
    """Settle as refused when nothing else may have landed, else leave it unknown."""
    attempts = attempts_of(connection, row.external_id)
    clear = not any(a.outcome in {AttemptOutcome.OPEN, AttemptOutcome.LANDED} for a in attempts)
    if row.token != token or row.state not in {State.SENT, State.UNKNOWN}:
        return State(row.state)
    if not clear:
        put(connection, row.external_id, state=State.UNKNOWN, reason=reason)
        return State.UNKNOWN
    now = db.now(connection)
    if not any(a.outcome == AttemptOutcome.ABSENT for a in attempts):
        put(connection, row.external_id, baseline=None)  # it would grow stale while others use the unit
    put(
        connection,
        row.external_id,
        state=State.REJECTED,
        reason=reason,
        holder=None,
        lease_until=None,
        next_look=None,
        settled_at=now,
    )
    free_unit(connection, row.external_id)
    return State.REJECTED


def doubt(connection: Connection, external_id: str, *, token: int, reason: str) -> None:
    """Step 6, ambiguous: only the holder may say so, and only of what was sent."""
    row = lock(connection, external_id)
    if row.token == token and row.state == State.SENT:
        put(connection, external_id, state=State.UNKNOWN, reason=reason)


def is_keyed(operation: Operation) -> bool:
    """Whether the vendor honours a key of ours for this operation."""
    return operation.effect is Effect.KEYED
