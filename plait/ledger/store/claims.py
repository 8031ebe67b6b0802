"""Steps 1, 2 and 8: the right to work on an effect, and on its unit."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite

from plait.failpoints import reach
from plait.ledger.database import Database
from plait.ledger.errors import EffectInProgress, ExternalIdReused, GenerationConflict
from plait.ledger.identity import EffectKey
from plait.ledger.recipe import Json
from plait.ledger.store.attempts import silence
from plait.ledger.store.rows import (
    EFFECT,
    UNIT,
    AnyRow,
    Claim,
    Held,
    Intent,
    Settled,
    attempts_of,
    free_unit,
    lock,
    lock_claimed,
    put,
    still_open,
)
from plait.ledger.tables import AttemptOutcome, State

_EXISTS: Final = select(EFFECT.c.external_id).where(EFFECT.c.external_id == bindparam("of"))
_NEW_EFFECT: Final = {
    True: sqlite.insert(EFFECT).on_conflict_do_nothing(),
    False: postgresql.insert(EFFECT).on_conflict_do_nothing(),
}


def claim(
    db: Database,
    connection: Connection,
    intent: Intent,
    *,
    me: str,
    nonce: str,
    lease: float,
    dead: frozenset[str] = frozenset(),
    look_now: bool = False,
) -> Claim | Settled | Held:
    """Step 1: insert the effect or take it over. The last of its terms repeats an uncertain commit.

    `dead` are holders proved dead. Raises `ExternalIdReused` and `GenerationConflict`.
    """
    _insert(db, connection, intent)
    row = lock(connection, intent.key.external_id, whole=True)
    now = db.now(connection)
    if row.fingerprint != intent.key.fingerprint:
        raise ExternalIdReused(
            f"{row.external_id} was first used for {row.operation} on {row.target} at {row.account}; "
            "now the same run key asks for another request. Use another run key, or the first address",
            system=row.system,
            operation=row.operation,
        )
    answer = _take(connection, row, now, me=me, nonce=nonce, lease=lease, dead=dead, look_now=look_now)
    if isinstance(answer, Claim) and row.inputs is None:  # retention dropped them; a look needs them again
        put(connection, row.external_id, inputs=intent.identity.inputs)
    return answer


def reclaim(
    db: Database,
    connection: Connection,
    external_id: str,
    *,
    me: str,
    nonce: str,
    lease: float,
    dead: frozenset[str] = frozenset(),
    look_now: bool = False,
) -> Claim | Settled | Held:
    """Step 1 for an effect that is already there (sweep, `plait effects reconcile`)."""
    row = lock(connection, external_id, whole=True)
    return _take(
        connection,
        row,
        db.now(connection),
        me=me,
        nonce=nonce,
        lease=lease,
        dead=dead,
        look_now=look_now,
        reopen=False,
    )


def _insert(db: Database, connection: Connection, intent: Intent) -> None:
    key, identity = intent.key, intent.identity
    if key.generation > 0 and connection.execute(_EXISTS, {"of": key.external_id}).first() is None:
        _require_settled(connection, key)
        reach("generation.before_insert")
    connection.execute(
        _NEW_EFFECT[db.is_sqlite],
        {
            "external_id": key.external_id,
            "intent": key.intent,
            "generation": key.generation,
            "fingerprint": key.fingerprint,
            "env": intent.env,
            "system": intent.operation.system,
            "operation": intent.operation.name,
            "run_key": intent.run_key,
            "step": intent.step,
            "target": identity.target,
            "unit": identity.unit,
            "account": identity.account,
            "inputs": identity.inputs,
            "by_content": identity.by_content,
            "state": State.INTENDED,
            "token": 0,
            "attempts": 0,
            "created_at": db.now(connection),
        },
    )


def _require_settled(connection: Connection, key: EffectKey) -> None:
    before = connection.execute(
        select(EFFECT)
        .where(EFFECT.c.intent == key.intent, EFFECT.c.generation == key.generation - 1)
        .with_for_update()
    ).first()
    if (
        before is None
        or before.state not in {State.DONE, State.REJECTED}
        or still_open(attempts_of(connection, before.external_id))
    ):
        standing = f"is {before.state}" if before is not None else "does not exist"
        raise GenerationConflict(
            f"generation {key.generation} asks for a re-run, but generation {key.generation - 1} {standing}; "
            "settle it first (plait effects list)"
        )


def _require_newest(connection: Connection, row: AnyRow) -> None:
    """A refused generation is sent again only while nobody has asked for the next one."""
    later = select(EFFECT.c.external_id).where(
        EFFECT.c.intent == row.intent, EFFECT.c.generation == row.generation + 1
    )
    newer = connection.execute(later).scalar()
    if newer is not None:
        raise GenerationConflict(
            f"generation {row.generation} was refused and is not sent again: generation {row.generation + 1} "
            f"has taken its place ({newer}); ask for that one"
        )


def _take(
    connection: Connection,
    row: AnyRow,
    now: float,
    *,
    me: str,
    nonce: str,
    lease: float,
    dead: frozenset[str],
    look_now: bool,
    reopen: bool = True,
) -> Claim | Settled | Held:
    if row.state == State.DONE:
        dropped = row.compacted_at is not None and not row.by_content
        return Settled(result=row.result, vendor_id=row.vendor_id, dropped=dropped)
    mine = row.holder == me and row.claim_nonce == nonce
    if row.holder is not None and not mine and row.lease_until > now and row.holder not in dead:
        return Held(until=row.lease_until, now=now, holder=row.holder, reason="another runner is at it")
    if row.next_look is not None and row.next_look > now and not look_now and not mine:
        return Held(
            until=row.next_look, now=now, holder=None, reason=row.reason or "the next look is not due"
        )
    state = State(row.state)
    if state is State.REJECTED:
        if not reopen or still_open(attempts_of(connection, row.external_id)):
            return Held(until=now, now=now, holder=None, reason="it was refused")
        _require_newest(connection, row)
        state = State.INTENDED
    token = row.token if mine else row.token + 1
    if dead:
        silence(connection, row.external_id, dead, now)
    put(
        connection,
        row.external_id,
        holder=me,
        token=token,
        claim_nonce=nonce,
        claimed_at=now,
        lease_until=now + lease,
        state=state,
        settled_at=None,
        compacted_at=None,
    )
    return Claim(
        external_id=row.external_id,
        token=token,
        state=state,
        attempts=row.attempts,
        unit=row.unit,
        baseline=row.baseline,
        took_over=row.holder is not None and not mine,
    )


def renew(
    db: Database, connection: Connection, held: Sequence[tuple[str, int]], *, me: str, lease: float
) -> None:
    """Step 8: push the leases of the claims still served; a lapsed one is never revived."""
    now = db.now(connection)
    for external_id, token in held:
        connection.execute(
            update(EFFECT)
            .where(EFFECT.c.external_id == external_id, EFFECT.c.holder == me, EFFECT.c.token == token)
            .where(EFFECT.c.lease_until > now)
            .values(lease_until=now + lease)
        )


def release(
    db: Database,
    connection: Connection,
    external_id: str,
    *,
    me: str,
    token: int,
    look_in: float | None = None,
    reason: str | None = None,
) -> None:
    """The end of a claim that did not settle: what is open stays visible, with its next look in seconds."""
    row = lock(connection, external_id)
    if row.holder != me or row.token != token:
        return
    attempts = attempts_of(connection, external_id)
    nothing_left = all(
        attempt.outcome in {AttemptOutcome.NOT_SENT, AttemptOutcome.REFUSED} for attempt in attempts
    )
    state = State.INTENDED if nothing_left and row.state == State.SENT else State(row.state)
    now = db.now(connection)
    put(
        connection,
        external_id,
        holder=None,
        lease_until=None,
        state=state,
        reason=reason or row.reason,
        next_look=None if look_in is None else now + look_in,
    )
    if nothing_left:  # the baseline of a unit that others may use meanwhile would grow stale
        put(connection, external_id, baseline=None)
    if not still_open(attempts):
        free_unit(connection, external_id)


def take_unit(db: Database, connection: Connection, claimed: Claim, *, me: str, visibility: float) -> bool:
    """Take the unit's lock for this effect; True when it was not ours before.

    Raises `EffectInProgress` while another effect of the unit is at work or unsettled.
    """
    lock_claimed(db, connection, claimed, me)
    unit, external_id = claimed.unit, claimed.external_id
    into = sqlite.insert(UNIT) if db.is_sqlite else postgresql.insert(UNIT)
    connection.execute(into.values(unit=unit, free_after=0.0).on_conflict_do_nothing())
    lock = connection.execute(select(UNIT).where(UNIT.c.unit == unit).with_for_update()).one()
    now = db.now(connection)
    if lock.external_id == external_id:
        return False
    if lock.external_id is not None and (why := busy(connection, lock.external_id, now)):
        raise EffectInProgress(
            f"{unit} is busy with {lock.external_id} ({why}); it must settle first (plait effects show)",
            retry_after=visibility,
        )
    if lock.free_after > now:
        raise EffectInProgress(
            f"{unit} was changed a moment ago and a look may not show it yet",
            retry_after=lock.free_after - now,
        )
    connection.execute(update(UNIT).where(UNIT.c.unit == unit).values(external_id=external_id))
    return True


def busy(connection: Connection, external_id: str, now: float) -> str | None:
    """Why the unit is not free of this effect, which has it; None where it is."""
    row = connection.execute(select(EFFECT).where(EFFECT.c.external_id == external_id)).first()
    if row is None:
        return None
    if row.holder is not None and row.lease_until > now:
        return "a runner is at it"
    return "an attempt is unsettled" if still_open(attempts_of(connection, external_id)) else None


def store_baseline(db: Database, connection: Connection, claimed: Claim, *, me: str, baseline: Json) -> None:
    """What the vendor showed under the unit's lock, before the first permit."""
    lock_claimed(db, connection, claimed, me)
    put(connection, claimed.external_id, baseline=baseline)
