"""What people and programs may see of the ledger's reviews."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, cast

from pydantic import BaseModel
from sqlalchemy import ColumnElement, Connection, func, select, text

from plait.http.errors import InvalidInput
from plait.ledger.store.reviews import ANSWER, MESSAGE, REVIEW
from plait.ledger.store.rows import AnyRow
from plait.ledger.tables import AnswerStanding, ReviewState, Through

_OPEN: Final = cast("ColumnElement[bool]", text("review.state IN ('asked','waiting')"))
_WAITING: Final = cast("ColumnElement[bool]", text("review.state = 'waiting'"))
_UNCLOSED: Final = cast("ColumnElement[bool]", text("review_message.closed_at IS NULL"))
_UNACKNOWLEDGED: Final = cast(
    "ColumnElement[bool]",
    text("review_message.closed_by = 'answered' AND review_message.acknowledged_at IS NULL"),
)
"""Spelled as the partial indexes are, or SQLite does not use them."""

WhichReviews = Literal["open", "decided", "used", "withdrawn", "all"]
CHUNK: Final = 500
"""Ids in one statement."""


class MessageView(BaseModel):
    """One message that puts the question."""

    n: int
    account: str
    channel_id: str
    lifetime: int
    reason: str | None
    message_id: str | None
    shown: str | None
    posted_at: float | None
    closed_at: float | None
    closed_by: str | None
    acknowledged_at: float | None


class AnswerView(BaseModel):
    """One answer that was seen."""

    through: Through
    n: int | None
    standing: AnswerStanding
    said: Any
    by: str
    why: str | None
    digest: str | None
    answered_at: float | None
    seen_at: float


class ReviewView(BaseModel):
    """One question to a person. Times are the ledger's epoch seconds; `age` and `left` are seconds."""

    id: str
    env: str
    run_key: str
    subject: Any
    title: str
    question: Any
    digest: str
    state: ReviewState
    age: float
    expires_in: float
    expires_at: float | None
    left: float | None
    """Until it expires; None until its first message is posted."""
    on_expiry: str
    escalate_to: str | None
    level: int
    flow_run_id: str | None
    resume_at: float | None
    resumed_at: float | None
    decision: Any
    decided_by: str | None
    decided_why: str | None
    decided_through: Through | None
    decided_at: float | None
    outcome: str | None
    reminders: int
    note: str | None
    missing_since: float | None
    created_at: float
    messages: list[MessageView] = []
    answers: list[AnswerView] = []

    @property
    def waits(self) -> bool:
        """Whether a decision is still wanted."""
        return self.state in {ReviewState.ASKED, ReviewState.WAITING}

    @property
    def messages_posted(self) -> bool:
        """Whether anybody could have seen it."""
        return self.state is not ReviewState.ASKED


class OpenMessage(BaseModel):
    """A message that is not closed, and how its question stands."""

    review_id: str
    n: int
    message_id: str | None
    posted_at: float | None
    state: ReviewState


class AnsweredMessage(BaseModel):
    """A message whose answer is to be acknowledged."""

    review_id: str
    n: int
    channel_id: str
    message_id: str


class WaitingRun(BaseModel):
    """A suspended run that is to be resumed now."""

    flow_run_id: str
    resumed_at: float | None
    decided_at: float | None


Place = tuple[str, str]
"""Account and channel."""


def find_review(connection: Connection, now: float, review_id: str) -> ReviewView | None:
    """One review with its messages and answers, or None."""
    return next(iter(find_reviews(connection, now, [review_id])), None)


def show_review(connection: Connection, now: float, review_id: str) -> ReviewView:
    """The same; raises `InvalidInput` for an unknown id."""
    view = find_review(connection, now, review_id)
    if view is None:
        raise InvalidInput(f"the ledger has no review {review_id!r}; plait reviews list shows what waits")
    return view


def find_reviews(connection: Connection, now: float, review_ids: Sequence[str]) -> list[ReviewView]:
    """Those of these reviews that there are, in that order, with messages and answers."""
    found: dict[str, ReviewView] = {}
    for some in _chunks(review_ids):
        for row in connection.execute(select(REVIEW).where(REVIEW.c.id.in_(some))):
            found[row.id] = _view(row, now)
        messages = select(MESSAGE).where(MESSAGE.c.review_id.in_(some)).order_by(MESSAGE.c.n)
        for row in connection.execute(messages):
            found[row.review_id].messages.append(MessageView.model_validate(_mapping(row)))
        answers = select(ANSWER).where(ANSWER.c.review_id.in_(some)).order_by(ANSWER.c.seen_at)
        for row in connection.execute(answers):
            found[row.review_id].answers.append(AnswerView.model_validate(_mapping(row)))
    return [found[review_id] for review_id in review_ids if review_id in found]


def list_reviews(
    connection: Connection,
    now: float,
    *,
    which: WhichReviews = "open",
    run_key: str | None = None,
    limit: int = 100,
) -> list[ReviewView]:
    """Reviews of a kind, without messages and answers: what waits by age, the others newest first."""
    conditions = {"open": [_OPEN], "all": []}.get(which, [REVIEW.c.state == which])
    conditions += [REVIEW.c.run_key == run_key] if run_key else []
    order = REVIEW.c.created_at.asc() if which == "open" else REVIEW.c.created_at.desc()
    query = select(REVIEW).where(*conditions).order_by(order).limit(limit)
    return [_view(row, now) for row in connection.execute(query)]


def count_open_reviews(connection: Connection, now: float) -> int:
    """How many decisions are waited for."""
    del now
    return int(connection.execute(select(func.count()).select_from(REVIEW).where(_OPEN)).scalar_one())


def count_overdue_reviews(connection: Connection, now: float, run_key: str | None = None) -> int:
    """How many wait although their time is over; of all, or of this run key."""
    query = select(func.count()).select_from(REVIEW).where(_WAITING, REVIEW.c.expires_at <= now)
    mine = [REVIEW.c.run_key == run_key] if run_key else []
    return int(connection.execute(query.where(*mine)).scalar_one())


def open_messages(
    connection: Connection, now: float, account: str, only: Sequence[str] | None = None
) -> dict[str, list[OpenMessage]]:
    """By channel: every message at this account of which something is still expected; or of these reviews."""
    del now
    query = (
        select(MESSAGE, REVIEW.c.state)
        .join(REVIEW, REVIEW.c.id == MESSAGE.c.review_id)
        .where(_UNCLOSED, MESSAGE.c.account == account)
    )
    found: dict[str, list[OpenMessage]] = {}
    for some in [None] if only is None else _chunks(only):
        mine = [] if some is None else [MESSAGE.c.review_id.in_(some)]
        for row in connection.execute(query.where(*mine)):
            found.setdefault(row.channel_id, []).append(OpenMessage.model_validate(_mapping(row)))
    return found


def unacknowledged_messages(
    connection: Connection, now: float, account: str, *, limit: int = 20
) -> list[AnsweredMessage]:
    """Messages at this account that were answered, of questions that are closed, and are not acknowledged."""
    del now
    query = (
        select(MESSAGE.c.review_id, MESSAGE.c.n, MESSAGE.c.channel_id, MESSAGE.c.message_id)
        .join(REVIEW, REVIEW.c.id == MESSAGE.c.review_id)
        .where(_UNACKNOWLEDGED, MESSAGE.c.account == account)
        .where(REVIEW.c.state.in_([ReviewState.USED, ReviewState.WITHDRAWN]))
        .order_by(MESSAGE.c.closed_at)
        .limit(limit)
    )
    return [AnsweredMessage.model_validate(_mapping(row)) for row in connection.execute(query)]


def due_reviews(
    connection: Connection, now: float, only: Sequence[str] | None = None, *, limit: int = 1000
) -> list[str]:
    """Ids of reviews whose time is over, the longest overdue first; or those among these."""
    query = select(REVIEW.c.id).where(_WAITING, REVIEW.c.expires_at <= now).order_by(REVIEW.c.expires_at)
    if only is None:
        return list(connection.execute(query.limit(limit)).scalars())
    asked = (connection.execute(query.where(REVIEW.c.id.in_(some))).scalars() for some in _chunks(only))
    return [review_id for found in asked for review_id in found]


def open_subjects(connection: Connection, now: float) -> dict[str, Any]:
    """What each open question is about, by the question's id."""
    del now
    return {
        row.id: row.subject for row in connection.execute(select(REVIEW.c.id, REVIEW.c.subject).where(_OPEN))
    }


def suspended_reviews(connection: Connection, now: float) -> dict[str, str]:
    """Open questions of suspended runs: question to run."""
    del now
    query = select(REVIEW.c.id, REVIEW.c.flow_run_id).where(_OPEN, REVIEW.c.flow_run_id.is_not(None))
    return {row.id: row.flow_run_id for row in connection.execute(query)}


def runs_to_resume(connection: Connection, now: float, *, limit: int = 200) -> list[WaitingRun]:
    """Suspended runs for which something was decided and whose turn it is, each once."""
    query = (
        select(
            REVIEW.c.flow_run_id,
            func.max(REVIEW.c.resumed_at).label("resumed_at"),
            func.max(REVIEW.c.decided_at).label("decided_at"),
        )
        .where(REVIEW.c.resume_at <= now, REVIEW.c.resume_at.is_not(None))
        .group_by(REVIEW.c.flow_run_id)
        .order_by(func.min(REVIEW.c.resume_at))
        .limit(limit)
    )
    return [WaitingRun.model_validate(_mapping(row)) for row in connection.execute(query)]


def _chunks(ids: Sequence[str]) -> list[list[str]]:
    return [list(ids[start : start + CHUNK]) for start in range(0, len(ids), CHUNK)]


def _view(row: AnyRow, now: float) -> ReviewView:
    left = None if row.expires_at is None else row.expires_at - now
    return ReviewView.model_validate({**_mapping(row), "age": now - row.created_at, "left": left})


def _mapping(row: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
