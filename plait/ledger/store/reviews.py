"""Questions to people as transactions: asked once, decided once, every answer kept.

Each function runs inside one write transaction and may be repeated: an answer carries a nonce made of
itself, and a decision is written only where there is none.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import Connection, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from plait.http.errors import InvalidInput
from plait.ledger.database import Database
from plait.ledger.recipe import Json
from plait.ledger.store.rows import AnyRow
from plait.ledger.tables import (
    OPEN_REVIEWS,
    AnswerStanding,
    ReviewAnswerRow,
    ReviewMessageRow,
    ReviewRow,
    ReviewState,
    Through,
)

REVIEW = ReviewRow.metadata.tables["review"]
MESSAGE = ReviewMessageRow.metadata.tables["review_message"]
ANSWER = ReviewAnswerRow.metadata.tables["review_answer"]

_NEW_REVIEW: Final = {
    True: sqlite.insert(REVIEW).on_conflict_do_nothing(),
    False: postgresql.insert(REVIEW).on_conflict_do_nothing(),
}
_NEW_MESSAGE: Final = {
    True: sqlite.insert(MESSAGE).on_conflict_do_nothing(),
    False: postgresql.insert(MESSAGE).on_conflict_do_nothing(),
}
_CLOSED: Final = frozenset({ReviewState.USED, ReviewState.WITHDRAWN})
CHANGED: Final = "changed"
"""The outcome of a question about something that is no longer asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Everything that is written down before a question is put."""

    id: str
    env: str
    run_key: str
    subject: Json
    title: str
    question: Json
    digest: str
    expires_in: float
    on_expiry: str
    escalate_to: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a message of a question goes, and how long the inbox is to keep it open, in seconds."""

    account: str
    channel_id: str
    lifetime: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """An answer that was seen. `said` None decides nothing, and `why` tells the reason."""

    nonce: str
    through: Through
    by: str
    said: Json = None
    why: str | None = None
    n: int | None = None
    digest: str | None = None
    answered_at: float | None = None


def ask(db: Database, connection: Connection, question: Question, place: Place) -> AnyRow:
    """Record a question with its first message, still to be posted; gives the row, there before or not."""
    values = {**asdict(question), "state": ReviewState.ASKED, "level": 0, "reminders": 0}
    connection.execute(_NEW_REVIEW[db.is_sqlite], {**values, "created_at": db.now(connection)})
    _new_message(db, connection, place, review_id=question.id, n=0, reason=None)
    return locked(connection, question.id)


def locked(connection: Connection, review_id: str) -> AnyRow:
    """A review's row, locked until the transaction ends. Raises `InvalidInput` for an unknown id."""
    row = connection.execute(select(REVIEW).where(REVIEW.c.id == review_id).with_for_update()).first()
    if row is None:
        raise InvalidInput(f"the ledger has no review {review_id!r}; plait reviews list shows what waits")
    return row


def posted(
    db: Database,
    connection: Connection,
    review_id: str,
    n: int,
    *,
    message_id: str,
    shown: str,
    at: float | None = None,
) -> None:
    """A message of the question can be answered; the time that is given starts with the first one.

    `at` is when the inbox says it was posted: its clock may be wrong, so that the time starts neither
    before the question was recorded nor after now. A question that is put again keeps its time.
    """
    row = locked(connection, review_id)
    now = db.now(connection)
    began = now if at is None else min(now, max(at, row.created_at))
    written = connection.execute(
        update(MESSAGE)
        .where(MESSAGE.c.review_id == review_id, MESSAGE.c.n == n, MESSAGE.c.message_id.is_(None))
        .values(message_id=message_id, shown=shown, posted_at=now)
    )
    if written.rowcount and row.state in OPEN_REVIEWS:
        _put(
            connection,
            review_id,
            state=ReviewState.WAITING,
            expires_at=row.expires_at or began + row.expires_in,
            note=None,
        )


def answer(db: Database, connection: Connection, review_id: str, given: Answered) -> AnswerStanding:
    """Record an answer; the first that decides something is the decision. Seen before: as it stood then."""
    row = locked(connection, review_id)
    known = connection.execute(
        select(ANSWER.c.standing).where(ANSWER.c.review_id == review_id, ANSWER.c.nonce == given.nonce)
    ).scalar()
    if known is not None:
        return AnswerStanding(known)
    now = db.now(connection)
    standing = _standing(row, given)
    connection.execute(
        ANSWER.insert().values(
            review_id=review_id,
            nonce=given.nonce,
            through=given.through,
            n=given.n,
            standing=standing,
            said=given.said,
            by=given.by,
            why=given.why,
            digest=given.digest,
            answered_at=given.answered_at,
            seen_at=now,
        )
    )
    if standing is AnswerStanding.DECIDED:
        _put(
            connection,
            review_id,
            state=ReviewState.DECIDED,
            decision=given.said,
            decided_by=given.by,
            decided_why=given.why,
            decided_through=given.through,
            decided_at=now,
            resume_at=now if row.flow_run_id is not None else None,
            note=None,
        )
    return standing


def _standing(row: AnyRow, given: Answered) -> AnswerStanding:
    if given.said is None:
        return AnswerStanding.UNUSABLE
    if row.state in OPEN_REVIEWS:
        return AnswerStanding.DECIDED
    if row.decision is None or row.decided_through == Through.EXPIRY:
        return AnswerStanding.LATE
    return AnswerStanding.AGREED if row.decision == given.said else AnswerStanding.CONFLICTING


def ask_again(
    db: Database, connection: Connection, review_id: str, *, after: int, place: Place, reason: str, limit: int
) -> bool:
    """Put an undecided question once more, in a new message; False where that was done `limit` times.

    `after` is the message that failed: two who notice it at once add one.
    """
    row = locked(connection, review_id)
    last = _last_message(connection, review_id)
    if row.state not in OPEN_REVIEWS or last > after:
        return True
    if last + 1 >= limit:
        _put(connection, review_id, note=f"not put again: {reason}")
        return False
    _new_message(db, connection, place, review_id=review_id, n=last + 1, reason=reason)
    return True


def escalate(db: Database, connection: Connection, review_id: str, *, place: Place, reason: str) -> None:
    """Nobody decided in time: put the question in the other channel too; its time starts anew, now.

    Not when the message is posted: that may fail, and the question would have no end.
    """
    row = locked(connection, review_id)
    if row.state != ReviewState.WAITING or row.level > 0:
        return
    _put(connection, review_id, level=1, expires_at=db.now(connection) + row.expires_in)
    following = _last_message(connection, review_id) + 1
    _new_message(db, connection, place, review_id=review_id, n=following, reason=reason)


def close_message(db: Database, connection: Connection, review_id: str, n: int, *, by: str) -> None:
    """Nothing more is expected of a message; the first reason stays."""
    connection.execute(
        update(MESSAGE)
        .where(MESSAGE.c.review_id == review_id, MESSAGE.c.n == n, MESSAGE.c.closed_at.is_(None))
        .values(closed_at=db.now(connection), closed_by=by)
    )


def acknowledged(db: Database, connection: Connection, review_id: str, n: int) -> None:
    """The inbox knows that the message's answer was taken up."""
    connection.execute(
        update(MESSAGE)
        .where(MESSAGE.c.review_id == review_id, MESSAGE.c.n == n)
        .values(acknowledged_at=db.now(connection))
    )


def use(db: Database, connection: Connection, review_id: str, *, outcome: str) -> bool:
    """The decision was acted on, once; False where it was before."""
    now = db.now(connection)
    written = connection.execute(
        update(REVIEW)
        .where(REVIEW.c.id == review_id, REVIEW.c.state == ReviewState.DECIDED)
        .values(state=ReviewState.USED, outcome=outcome, resume_at=None, closed_at=now)
    )
    return bool(written.rowcount)


def withdraw(db: Database, connection: Connection, review_id: str, *, reason: str, outcome: str) -> bool:
    """Nobody needs to answer any more; False where it is closed already.

    Its run is resumed to see that, unless it is the run itself that found it `changed`.
    """
    row = locked(connection, review_id)
    if row.state in _CLOSED:
        return False
    now = db.now(connection)
    to_be_resumed = row.flow_run_id is not None and outcome != CHANGED
    _put(
        connection,
        review_id,
        state=ReviewState.WITHDRAWN,
        outcome=outcome,
        note=reason,
        closed_at=now,
        resume_at=now if to_be_resumed else None,
    )
    return True


def suspend(db: Database, connection: Connection, review_ids: Sequence[str], flow_run_id: str) -> None:
    """A run is about to suspend for these: a decision has it resumed, also one made just now.

    What it was to be resumed for before, and is closed, it has seen.
    """
    now = db.now(connection)
    connection.execute(
        update(REVIEW)
        .where(
            REVIEW.c.resume_at.is_not(None), REVIEW.c.flow_run_id == flow_run_id, REVIEW.c.state.in_(_CLOSED)
        )
        .values(resume_at=None)
    )
    for review_id in sorted(review_ids):
        row = locked(connection, review_id)
        waits = row.state in OPEN_REVIEWS
        _put(connection, review_id, flow_run_id=flow_run_id, resume_at=None if waits else now)


def resume_later(
    connection: Connection, flow_run_id: str, *, at: float | None, accepted_at: float | None, note: str | None
) -> None:
    """What came of an attempt to resume a run: when to look again, or None for never."""
    values: dict[str, Any] = {"resume_at": at, "note": note}
    if accepted_at is not None:
        values["resumed_at"] = func.coalesce(REVIEW.c.resumed_at, accepted_at)
    connection.execute(
        update(REVIEW)
        .where(REVIEW.c.resume_at.is_not(None), REVIEW.c.flow_run_id == flow_run_id)
        .values(values)
    )


def missing(db: Database, connection: Connection, review_id: str) -> float:
    """The system of an open question does not list it; gives for how many seconds, 0 the first time."""
    row = locked(connection, review_id)
    now = db.now(connection)
    if row.missing_since is None:
        _put(connection, review_id, missing_since=now)
        return 0.0
    return float(now - row.missing_since)


def listed(connection: Connection, review_id: str) -> None:
    """It is listed: whatever was missing before was late."""
    _put(connection, review_id, missing_since=None)


def remind(connection: Connection, review_id: str) -> int:
    """Count one more reminder; gives its number. Raises `InvalidInput` where nobody is waited for."""
    row = locked(connection, review_id)
    if row.state != ReviewState.WAITING:
        raise InvalidInput(f"{review_id} is {row.state}: there is nobody to remind")
    _put(connection, review_id, reminders=row.reminders + 1)
    return int(row.reminders) + 1


def explain(connection: Connection, review_id: str, note: str | None) -> None:
    """Say why a review does not move."""
    _put(connection, review_id, note=note)


def _new_message(
    db: Database, connection: Connection, place: Place, *, review_id: str, n: int, reason: str | None
) -> None:
    values = {"review_id": review_id, "n": n, "reason": reason, **asdict(place)}
    connection.execute(_NEW_MESSAGE[db.is_sqlite], values)


def _last_message(connection: Connection, review_id: str) -> int:
    query = select(func.max(MESSAGE.c.n)).where(MESSAGE.c.review_id == review_id)
    return int(connection.execute(query).scalar_one())


def _put(connection: Connection, review_id: str, **values: Any) -> None:
    connection.execute(update(REVIEW).where(REVIEW.c.id == review_id).values(**values))
