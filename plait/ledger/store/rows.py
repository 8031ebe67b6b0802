"""What the steps share: the rows, how they are locked, and how an effect comes to be done."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, cast

from sqlalchemy import ColumnElement, Connection, Row, Update, bindparam, func, select, text, update

from plait.http.errors import InvalidInput
from plait.http.operation import Operation
from plait.ledger.database import Database
from plait.ledger.errors import PermitRefused
from plait.ledger.identity import EffectKey
from plait.ledger.recipe import Identity, Json
from plait.ledger.tables import AttemptOutcome, AttemptRow, EffectRow, ProcessRow, State, UnitLockRow

EFFECT = EffectRow.metadata.tables["effect"]
ATTEMPT = AttemptRow.metadata.tables["attempt"]
PROCESS = ProcessRow.metadata.tables["process"]
UNIT = UnitLockRow.metadata.tables["unit_lock"]

OPEN_ATTEMPT: Final = cast("ColumnElement[bool]", text("attempt.outcome = 'open'"))
"""Spelled as the partial index `attempt_open` is, or SQLite does not use it."""

AnyRow = Row[Any]

# Statements are built once: building one costs several times what running it does.
_BULKY: Final = {"inputs", "baseline", "result"}
_MINE: Final = EFFECT.c.external_id == bindparam("of")
_LOCK: Final = select(*(c for c in EFFECT.c if c.name not in _BULKY)).where(_MINE).with_for_update()
_LOCK_WHOLE: Final = select(EFFECT).where(_MINE).with_for_update()
_ATTEMPTS: Final = select(ATTEMPT).where(ATTEMPT.c.external_id == bindparam("of")).order_by(ATTEMPT.c.n)
_CLOSE: Final = (
    update(ATTEMPT)
    .where(ATTEMPT.c.external_id == bindparam("of"), ATTEMPT.c.nonce == bindparam("by"))
    .where(ATTEMPT.c.outcome.in_([AttemptOutcome.OPEN, AttemptOutcome.ABSENT]))
    .values(
        outcome=bindparam("became"),
        answer=bindparam("said", type_=ATTEMPT.c.answer.type),
        answered=True,
        quiet_at=func.coalesce(ATTEMPT.c.quiet_at, bindparam("now")),
        quiet_by=func.coalesce(ATTEMPT.c.quiet_by, "self"),
    )
)
_FREE_UNIT: Final = (
    update(UNIT)
    .where(UNIT.c.external_id == bindparam("of"))
    .values(external_id=None, free_after=func.coalesce(bindparam("after"), UNIT.c.free_after))
)


@cache
def _put(columns: tuple[str, ...]) -> Update:
    values = {name: bindparam(f"new_{name}", type_=EFFECT.c[name].type) for name in columns}
    return update(EFFECT).where(_MINE).values(values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """Everything the first insert writes down."""

    key: EffectKey
    operation: Operation
    identity: Identity
    env: str
    run_key: str
    step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to work on an effect until the lease ends; `token` rises with every claim."""

    external_id: str
    token: int
    state: State
    attempts: int
    unit: str | None
    baseline: Json
    took_over: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """The effect is done; here is what came of it. `dropped`: retention has removed the result."""

    result: Json
    vendor_id: str | None
    dropped: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Not ours now. `holder` is None when only the next look is awaited."""

    until: float
    now: float
    holder: str | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """One attempt's leave to write, until `send_by` of the ledger's clock."""

    n: int
    sent_at: float
    send_by: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TooEarly:
    """An absent verdict that E3 does not allow yet; `at` is None while nobody can say from when on.

    `silent_holder` may still write; without one and without a time, no look will ever do.
    """

    at: float | None
    now: float
    silent_holder: str | None


def lock(connection: Connection, external_id: str, *, whole: bool = False) -> AnyRow:
    """The effect's row, locked until the transaction ends; `whole` with its bulky columns.

    Raises `InvalidInput` for an unknown id.
    """
    row = connection.execute(_LOCK_WHOLE if whole else _LOCK, {"of": external_id}).first()
    if row is None:
        raise InvalidInput(f"the ledger has no effect {external_id!r}; plait effects list shows what is open")
    return row


def lock_claimed(db: Database, connection: Connection, claimed: Claim, me: str) -> AnyRow:
    """The same, and `PermitRefused` unless the claim is still ours."""
    row = lock(connection, claimed.external_id)
    current = (
        row.holder == me and row.token == claimed.token and (row.lease_until or 0.0) > db.now(connection)
    )
    require(current, "the claim has run out")
    return row


def require(holds: bool, otherwise: str) -> None:
    """`PermitRefused` with the reason, unless it holds."""
    if not holds:
        raise PermitRefused(f"not sent: {otherwise}")


def attempts_of(connection: Connection, external_id: str) -> list[AnyRow]:
    """All attempts of one effect, oldest first."""
    return list(connection.execute(_ATTEMPTS, {"of": external_id}))


def still_open(attempts: Iterable[AnyRow]) -> list[AnyRow]:
    """The attempts of which nobody knows yet what became."""
    return [attempt for attempt in attempts if attempt.outcome == AttemptOutcome.OPEN]


def close(
    db: Database,
    connection: Connection,
    external_id: str,
    nonce: str,
    *,
    outcome: AttemptOutcome,
    answer: Json = None,
) -> None:
    """Settle one attempt; what was judged absent may still be corrected."""
    lock(connection, external_id)
    close_at(connection, external_id, nonce, now=db.now(connection), outcome=outcome, answer=answer)


def close_at(
    connection: Connection,
    external_id: str,
    nonce: str,
    *,
    now: float,
    outcome: AttemptOutcome,
    answer: Json = None,
) -> None:
    """The same under the row's lock, at `now`."""
    connection.execute(
        _CLOSE, {"of": external_id, "by": nonce, "became": outcome, "said": answer, "now": now}
    )


def done(
    connection: Connection, row: AnyRow, *, now: float, result: Json, vendor_id: str, visibility: float
) -> None:
    """The effect is done, and its unit free once a look shows it."""
    put(
        connection,
        row.external_id,
        state=State.DONE,
        result=result,
        vendor_id=vendor_id,
        holder=None,
        lease_until=None,
        next_look=None,
        settled_at=now,
        reason=None,
    )
    if row.unit is not None:
        free_unit(connection, row.external_id, free_after=now + visibility)


def free_unit(connection: Connection, external_id: str, *, free_after: float | None = None) -> None:
    """Give the unit's lock back."""
    connection.execute(_FREE_UNIT, {"of": external_id, "after": free_after})


def incident(
    connection: Connection, row: AnyRow, now: float, note: str, vendor_ids: Iterable[str | None]
) -> None:
    """Mark a contradiction for a person; vendor ids add up."""
    known = (row.incident or {}).get("vendor_ids", [])
    both = list(dict.fromkeys([*known, *(vendor_id for vendor_id in vendor_ids if vendor_id)]))
    put(connection, row.external_id, incident={"at": now, "note": note, "vendor_ids": both})


def put(connection: Connection, external_id: str, **values: Any) -> None:
    """Set columns of one effect."""
    new = {f"new_{name}": value for name, value in values.items()}
    connection.execute(_put(tuple(values)), {"of": external_id, **new})
