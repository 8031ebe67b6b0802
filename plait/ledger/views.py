"""What people may see of the ledger: open effects, their age and next look, incidents."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel
from sqlalchemy import ColumnElement, Connection, func, or_, select

from plait.http.errors import InvalidInput
from plait.ledger.store.rows import ATTEMPT, EFFECT, PROCESS, AnyRow, attempts_of
from plait.ledger.tables import OPEN_STATES, State

Which = Literal["open", "unknown", "incident", "done", "rejected", "all"]


class AttemptView(BaseModel):
    """One permit and what became of it. Times are seconds on the ledger's clock."""

    n: int
    outcome: str
    sent_at: float
    send_by: float
    quiet_at: float | None
    quiet_by: str | None
    absent_by: str | None
    wrote_late: bool
    next_sweep: float | None
    holder: str
    answer: Any


class EffectView(BaseModel):
    """One effect as a person sees it. Ages and waits are seconds from now."""

    external_id: str
    system: str
    operation: str
    state: State
    generation: int
    run_key: str
    step: str
    target: str
    account: str
    age: float
    attempts: int
    next_look_in: float | None
    held_by: str | None
    reason: str | None
    incident: Any
    vendor_id: str | None
    inputs: Any = None
    result: Any = None
    history: list[AttemptView] = []


class Counts(BaseModel):
    """How many effects are in which state."""

    by_state: dict[str, int]
    incidents: int


def list_effects(
    connection: Connection, now: float, *, which: Which = "open", run_key: str | None = None, limit: int = 100
) -> list[EffectView]:
    """The newest effects of a kind first; `open` lists the oldest first, because age is what matters."""
    query = select(EFFECT, PROCESS.c.pid, PROCESS.c.hostname).outerjoin(
        PROCESS, PROCESS.c.holder == EFFECT.c.holder
    )
    query = query.where(*_conditions(which), *([EFFECT.c.run_key == run_key] if run_key else []))
    order = EFFECT.c.created_at.asc() if which in {"open", "unknown"} else EFFECT.c.created_at.desc()
    return [_view(row, now) for row in connection.execute(query.order_by(order).limit(limit))]


def show_effect(connection: Connection, now: float, external_id: str) -> EffectView:
    """One effect with its inputs, result and every attempt. Raises `InvalidInput` for an unknown id."""
    query = select(EFFECT, PROCESS.c.pid, PROCESS.c.hostname).outerjoin(
        PROCESS, PROCESS.c.holder == EFFECT.c.holder
    )
    row = connection.execute(query.where(EFFECT.c.external_id == external_id)).first()
    if row is None:
        raise InvalidInput(f"the ledger has no effect {external_id!r}; plait effects list shows what is open")
    view = _view(row, now)
    view.inputs, view.result = row.inputs, row.result
    view.history = [
        AttemptView.model_validate(attempt, from_attributes=True)
        for attempt in attempts_of(connection, external_id)
    ]
    return view


def count_effects(connection: Connection) -> Counts:
    """One line for a page or a metric."""
    by_state = connection.execute(select(EFFECT.c.state, func.count()).group_by(EFFECT.c.state))
    incidents = connection.execute(select(func.count()).where(EFFECT.c.incident.is_not(None))).scalar_one()
    return Counts(by_state={row[0]: row[1] for row in by_state}, incidents=incidents)


def due_for_look(connection: Connection, now: float, limit: int) -> list[str]:
    """Unsettled effects that nobody holds and whose look is due, oldest first."""
    free = or_(EFFECT.c.holder.is_(None), EFFECT.c.lease_until <= now)
    due = or_(EFFECT.c.next_look.is_(None), EFFECT.c.next_look <= now)
    query = select(EFFECT.c.external_id).where(EFFECT.c.state.in_([State.SENT, State.UNKNOWN]), free, due)
    return list(connection.execute(query.order_by(EFFECT.c.created_at).limit(limit)).scalars())


def due_for_sweep(connection: Connection, now: float, limit: int) -> list[str]:
    """Effects with an attempt that was judged absent by time, or wrote late: look once more."""
    query = select(ATTEMPT.c.external_id).where(ATTEMPT.c.next_sweep <= now).distinct().limit(limit)
    return list(connection.execute(query).scalars())


def _conditions(which: Which) -> Sequence[ColumnElement[bool]]:
    match which:
        case "open":
            return [EFFECT.c.state.in_(OPEN_STATES)]
        case "incident":
            return [EFFECT.c.incident.is_not(None)]
        case "all":
            return []
        case _:
            return [EFFECT.c.state == State(which)]


def _view(row: AnyRow, now: float) -> EffectView:
    held = row.holder is not None and (row.lease_until or 0.0) > now
    return EffectView(
        external_id=row.external_id,
        system=row.system,
        operation=row.operation,
        state=row.state,
        generation=row.generation,
        run_key=row.run_key,
        step=row.step,
        target=row.target,
        account=row.account,
        age=now - row.created_at,
        attempts=row.attempts,
        next_look_in=None if row.next_look is None else row.next_look - now,
        held_by=f"process {row.pid} on host {row.hostname}" if held else None,
        reason=row.reason,
        incident=row.incident,
        vendor_id=row.vendor_id,
    )
