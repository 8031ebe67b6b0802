"""What people may see of the ledger: open effects, their age and next look, incidents."""

from collections.abc import Sequence
from typing import Any, Final, Literal, cast

from pydantic import BaseModel
from sqlalchemy import ColumnElement, Connection, Select, func, or_, select, text, tuple_

from plait.http.errors import InvalidInput
from plait.ledger.store.rows import ATTEMPT, EFFECT, PROCESS, AnyRow
from plait.ledger.tables import AttemptOutcome, State

_OPEN: Final = cast("ColumnElement[bool]", text("effect.state IN ('intended','sent','unknown')"))
_REJECTED: Final = cast("ColumnElement[bool]", text("effect.state = 'rejected'"))
"""Spelled as the partial indexes are, or SQLite does not use them."""

Which = Literal["open", "unknown", "incident", "done", "rejected", "all"]


class AttemptView(BaseModel):
    """One permit and what became of it. Times are epoch seconds on the ledger's clock."""

    n: int
    outcome: str
    sent_at: float
    send_by: float
    quiet_at: float | None
    quiet_by: str | None
    absent_by: str | None
    wrote_late: bool
    next_sweep: float | None
    process: str
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
    unsettled: bool
    """Whether a request of it is out of which nobody knows yet what became."""
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
    query = _seen().where(*_conditions(which), *([EFFECT.c.run_key == run_key] if run_key else []))
    order = EFFECT.c.created_at.asc() if which in {"open", "unknown"} else EFFECT.c.created_at.desc()
    return [_view(row, now) for row in connection.execute(query.order_by(order).limit(limit))]


def show_effect(connection: Connection, now: float, external_id: str) -> EffectView:
    """One effect with its inputs, result and every attempt. Raises `InvalidInput` for an unknown id."""
    row = connection.execute(_seen().where(EFFECT.c.external_id == external_id)).first()
    if row is None:
        raise InvalidInput(f"the ledger has no effect {external_id!r}; plait effects list shows what is open")
    view = _view(row, now)
    view.inputs, view.result = row.inputs, row.result
    view.history = [_attempt(row) for row in _attempts_with_processes(connection, external_id)]
    return view


def count_unclear(connection: Connection, now: float) -> int:
    """Effects that nobody is at and of which nobody knows what became, and incidents."""
    free = or_(EFFECT.c.holder.is_(None), EFFECT.c.lease_until <= now)
    lost = select(EFFECT.c.external_id).where(_OPEN, free, EFFECT.c.incident.is_(None), _has_open_attempt())
    doubtful = select(EFFECT.c.external_id).where(EFFECT.c.incident.is_not(None))
    return sum(
        connection.execute(select(func.count()).select_from(query.subquery())).scalar_one()
        for query in (lost, doubtful)
    )


def count_effects(connection: Connection) -> Counts:
    """One line for a page or a metric. The many that are done are what the others leave of all."""
    unsettled = select(EFFECT.c.state, func.count()).where(_OPEN).group_by(EFFECT.c.state)
    by_state: dict[str, int] = {row[0]: row[1] for row in connection.execute(unsettled)}
    everything, rejected, incidents = (
        connection.execute(select(func.count()).select_from(EFFECT).where(*which)).scalar_one()
        for which in ([], [_REJECTED], [EFFECT.c.incident.is_not(None)])
    )
    by_state[State.REJECTED] = rejected
    by_state[State.DONE] = everything - sum(by_state.values())
    return Counts(
        by_state={state: counted for state, counted in by_state.items() if counted}, incidents=incidents
    )


Cursor = tuple[float, str]
"""Where a page of due effects ended: created at, external id."""


def due_for_look(
    connection: Connection, now: float, *, limit: int, after: Cursor | None = None
) -> list[AnyRow]:
    """Unsettled effects that nobody holds and whose look is due, oldest first.

    Incidents are for a person; and where every attempt is closed, the effect waits for its own run.
    """
    free = or_(EFFECT.c.holder.is_(None), EFFECT.c.lease_until <= now)
    due = or_(EFFECT.c.next_look.is_(None), EFFECT.c.next_look <= now)
    waiting = _OPEN, EFFECT.c.state != State.INTENDED, free, due, EFFECT.c.incident.is_(None)
    return _page(connection, (*waiting, _has_open_attempt()), limit, after)


def due_for_sweep(
    connection: Connection, now: float, *, limit: int, after: Cursor | None = None
) -> list[AnyRow]:
    """Effects with an attempt that was judged absent, or wrote late: look once more, oldest first."""
    doubted = select(ATTEMPT.c.external_id).where(ATTEMPT.c.next_sweep <= now)
    waiting = EFFECT.c.external_id.in_(doubted), EFFECT.c.incident.is_(None)
    return _page(connection, waiting, limit, after)


def _page(
    connection: Connection, conditions: Sequence[ColumnElement[bool]], limit: int, after: Cursor | None
) -> list[AnyRow]:
    place = tuple_(EFFECT.c.created_at, EFFECT.c.external_id)
    query = select(EFFECT).where(*conditions, *([place > after] if after is not None else []))
    return list(connection.execute(query.order_by(EFFECT.c.created_at, EFFECT.c.external_id).limit(limit)))


def _attempts_with_processes(connection: Connection, external_id: str) -> list[AnyRow]:
    query = select(ATTEMPT, PROCESS.c.pid, PROCESS.c.hostname).outerjoin(
        PROCESS, PROCESS.c.holder == ATTEMPT.c.holder
    )
    return list(connection.execute(query.where(ATTEMPT.c.external_id == external_id).order_by(ATTEMPT.c.n)))


def _attempt(row: AnyRow) -> AttemptView:
    process = f"process {row.pid} on host {row.hostname}" if row.pid else f"holder {row.holder}"
    return AttemptView.model_validate({**row._mapping, "process": process})  # noqa: SLF001 - SQLAlchemy's public name


def _seen() -> Select[Any]:
    return select(
        EFFECT, PROCESS.c.pid, PROCESS.c.hostname, _has_open_attempt().label("unsettled")
    ).outerjoin(PROCESS, PROCESS.c.holder == EFFECT.c.holder)


def _has_open_attempt() -> ColumnElement[bool]:
    return (
        select(ATTEMPT.c.n)
        .where(ATTEMPT.c.external_id == EFFECT.c.external_id, ATTEMPT.c.outcome == AttemptOutcome.OPEN)
        .exists()
    )


def _conditions(which: Which) -> Sequence[ColumnElement[bool]]:
    match which:
        case "open":
            return [_OPEN]
        case "incident":
            return [EFFECT.c.incident.is_not(None)]
        case "rejected":
            return [_REJECTED]
        case "unknown":
            return [_OPEN, EFFECT.c.state == State.UNKNOWN]
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
        unsettled=row.unsettled,
        incident=row.incident,
        vendor_id=row.vendor_id,
    )
