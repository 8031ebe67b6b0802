"""The ledger's tables (effect-protocol.md §3). Times are epoch seconds, by the ledger's clock or as told."""

from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, Column, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel


class State(StrEnum):
    """Where an effect stands. `unknown` is shown to people until a look or a person settles it."""

    INTENDED = "intended"
    SENT = "sent"
    UNKNOWN = "unknown"
    DONE = "done"
    REJECTED = "rejected"


OPEN_STATES = (State.INTENDED, State.SENT, State.UNKNOWN)


class AttemptOutcome(StrEnum):
    """What became of one attempt."""

    OPEN = "open"
    LANDED = "landed"
    REFUSED = "refused"
    NOT_SENT = "not_sent"
    ABSENT = "absent"


class ReviewState(StrEnum):
    """Where a question to a person stands."""

    ASKED = "asked"
    """Recorded; no message of it is known to be posted yet."""
    WAITING = "waiting"
    DECIDED = "decided"
    USED = "used"
    """Decided, and acted on."""
    WITHDRAWN = "withdrawn"
    """Nobody needs an answer any more."""


OPEN_REVIEWS = (ReviewState.ASKED, ReviewState.WAITING)


class Through(StrEnum):
    """Where an answer was given."""

    PLACET = "placet"
    PREFECT = "prefect"
    VENDOR = "vendor"
    """At the system whose work is reviewed, in its own interface."""
    EXPIRY = "expiry"
    """By nobody in time: the rule that was set for this case decided."""


class AnswerStanding(StrEnum):
    """What an answer that was seen came to."""

    DECIDED = "decided"
    """It is the decision."""
    AGREED = "agreed"
    """It came after the decision and says the same."""
    CONFLICTING = "conflicting"
    """It came after the decision and says something else."""
    LATE = "late"
    """It came after the expiry had decided, or after the question was withdrawn."""
    UNUSABLE = "unusable"
    """It decides nothing: dismissed, incomplete, or made on other content than was asked about."""


class EffectRow(SQLModel, table=True):
    """One effect: what was meant, who is at it, what came of it."""

    __tablename__ = "effect"
    __table_args__ = (
        UniqueConstraint("intent", "generation", name="effect_intent_generation"),
        Index("effect_vendor", "system", "operation", "vendor_id"),
        Index(
            "effect_holder",
            "holder",
            sqlite_where=text("holder IS NOT NULL"),
            postgresql_where=text("holder IS NOT NULL"),
        ),
        Index(
            "effect_open",
            "created_at",
            sqlite_where=text("state IN ('intended','sent','unknown')"),
            postgresql_where=text("state IN ('intended','sent','unknown')"),
        ),
        Index(
            "effect_incident",
            "created_at",
            sqlite_where=text("incident IS NOT NULL"),
            postgresql_where=text("incident IS NOT NULL"),
        ),
        Index(
            "effect_rejected",
            "created_at",
            sqlite_where=text("state = 'rejected'"),
            postgresql_where=text("state = 'rejected'"),
        ),
        Index("effect_created", "created_at"),
        Index("effect_run", "run_key", "created_at"),
        Index(
            "effect_to_compact",
            "settled_at",
            sqlite_where=text("compacted_at IS NULL AND settled_at IS NOT NULL"),
            postgresql_where=text("compacted_at IS NULL AND settled_at IS NOT NULL"),
        ),
    )

    external_id: str = Field(primary_key=True)
    intent: str
    generation: int
    env: str
    system: str
    operation: str
    run_key: str
    step: str
    target: str
    unit: str | None
    account: str
    by_content: bool
    inputs: Any = Field(sa_column=Column(JSON))
    fingerprint: str
    state: str
    token: int = 0
    holder: str | None = None
    claim_nonce: str | None = None
    claimed_at: float | None = None
    lease_until: float | None = None
    next_look: float | None = None
    attempts: int = 0
    baseline: Any = Field(default=None, sa_column=Column(JSON))
    result: Any = Field(default=None, sa_column=Column(JSON))
    vendor_id: str | None = None
    reason: str | None = None
    incident: Any = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    created_at: float
    settled_at: float | None = None
    compacted_at: float | None = None


class AttemptRow(SQLModel, table=True):
    """One permit: from the moment it was taken until it is known that nothing more comes of it."""

    __tablename__ = "attempt"
    __table_args__ = (
        Index("attempt_holder", "holder"),
        Index(
            "attempt_open",
            "outcome",
            "holder",
            sqlite_where=text("outcome = 'open'"),
            postgresql_where=text("outcome = 'open'"),
        ),
        Index(
            "attempt_sweep",
            "next_sweep",
            sqlite_where=text("next_sweep IS NOT NULL"),
            postgresql_where=text("next_sweep IS NOT NULL"),
        ),
    )

    external_id: str = Field(primary_key=True, foreign_key="effect.external_id", ondelete="CASCADE")
    n: int = Field(primary_key=True)
    nonce: str
    holder: str
    sent_at: float
    send_by: float
    quiet_at: float | None = None
    quiet_by: str | None = None
    outcome: str
    answer: Any = Field(default=None, sa_column=Column(JSON))
    answered: bool = False
    wrote_late: bool = False
    absent_by: str | None = None
    next_sweep: float | None = None
    sweeps: int = 0


class ProcessRow(SQLModel, table=True):
    """One running instance of the ledger, so that another can prove it dead."""

    __tablename__ = "process"

    holder: str = Field(primary_key=True)
    host: str
    hostname: str
    boot_id: str
    pid_namespace: str
    pid: int
    started: str
    ended_at: float | None = None


class UnitLockRow(SQLModel, table=True):
    """Effects that a look could not tell apart go one after the other."""

    __tablename__ = "unit_lock"
    __table_args__ = (Index("unit_lock_effect", "external_id"),)

    unit: str = Field(primary_key=True)
    external_id: str | None = None
    free_after: float = 0.0


class ReviewRow(SQLModel, table=True):
    """One question to a person, and the one decision on it."""

    __tablename__ = "review"
    __table_args__ = (
        Index(
            "review_open",
            "created_at",
            sqlite_where=text("state IN ('asked','waiting')"),
            postgresql_where=text("state IN ('asked','waiting')"),
        ),
        Index(
            "review_due",
            "expires_at",
            sqlite_where=text("state = 'waiting'"),
            postgresql_where=text("state = 'waiting'"),
        ),
        Index(
            "review_to_resume",
            "resume_at",
            sqlite_where=text("resume_at IS NOT NULL"),
            postgresql_where=text("resume_at IS NOT NULL"),
        ),
        Index("review_created", "created_at"),
        Index("review_run", "run_key", "created_at"),
    )

    id: str = Field(primary_key=True)
    env: str
    run_key: str
    subject: Any = Field(sa_column=Column(JSON))
    """What the decision is about: its system, and that system's names for it."""
    title: str
    question: Any = Field(sa_column=Column(JSON))
    """Exactly what is shown, with the digests of its files."""
    digest: str
    """Of the question."""
    state: str
    expires_in: float
    expires_at: float | None = None
    """None until the first message is posted."""
    on_expiry: str
    escalate_to: str | None = None
    """Another channel's id."""
    level: int = 0
    """1 once it was escalated."""
    flow_run_id: str | None = None
    """The suspended run that a decision resumes."""
    resume_at: float | None = None
    """When a resumption is tried next; None where none is wanted."""
    resumed_at: float | None = None
    decision: Any = Field(default=None, sa_column=Column(JSON))
    decided_by: str | None = None
    decided_why: str | None = None
    decided_through: str | None = None
    decided_at: float | None = None
    outcome: str | None = None
    """What acting on the decision came to."""
    reminders: int = 0
    note: str | None = None
    """Why it does not move, for people."""
    missing_since: float | None = None
    """When its system stopped listing it without saying why; None while it is listed."""
    created_at: float
    closed_at: float | None = None


class ReviewMessageRow(SQLModel, table=True):
    """One message that puts a question: the first, a repeated one, or the one it was escalated with."""

    __tablename__ = "review_message"
    __table_args__ = (
        Index(
            "review_message_open",
            "account",
            "channel_id",
            sqlite_where=text("closed_at IS NULL"),
            postgresql_where=text("closed_at IS NULL"),
        ),
        Index(
            "review_message_answered",
            "account",
            sqlite_where=text("closed_by = 'answered' AND acknowledged_at IS NULL"),
            postgresql_where=text("closed_by = 'answered' AND acknowledged_at IS NULL"),
        ),
        Index("review_message_id", "message_id"),
    )

    review_id: str = Field(primary_key=True, foreign_key="review.id", ondelete="CASCADE")
    n: int = Field(primary_key=True)
    account: str
    channel_id: str
    lifetime: int
    """Seconds the inbox is told to keep it open; fixed here, because a repeated post must be equal."""
    reason: str | None = None
    """Why it is put again; shown in the message."""
    message_id: str | None = None
    shown: str | None = None
    """Digest of the message as it was posted."""
    posted_at: float | None = None
    closed_at: float | None = None
    closed_by: str | None = None
    """answered, expired, deleted, retracted, or left."""
    acknowledged_at: float | None = None
    """When the inbox was told that its answer is known."""


class ReviewAnswerRow(SQLModel, table=True):
    """One answer that was seen, whatever it came to. Kept for ever."""

    __tablename__ = "review_answer"

    review_id: str = Field(primary_key=True, foreign_key="review.id", ondelete="CASCADE")
    nonce: str = Field(primary_key=True)
    """Made of the answer itself, so that seeing one twice is one row."""
    through: str
    n: int | None = None
    """The message it answers."""
    standing: str
    said: Any = Field(default=None, sa_column=Column(JSON))
    """The decision it makes; None where it makes none."""
    by: str
    why: str | None = None
    digest: str | None = None
    """Of the question it was made on."""
    answered_at: float | None = None
    """By the clock of the place where it was given."""
    seen_at: float


class SyncCursorRow(SQLModel, table=True):
    """How far a list of a vendor's has been read into the ledger."""

    __tablename__ = "sync_cursor"

    account: str = Field(primary_key=True)
    stream: str = Field(primary_key=True)
    position: Any = Field(sa_column=Column(JSON))
    updated_at: float


class PipelineRow(SQLModel, table=True):
    """Something at a vendor that runs again and again: a pipeline, or a connection that is synced."""

    __tablename__ = "pipeline"

    account: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    id: str = Field(primary_key=True)
    name: str
    status: str
    """The vendor's own word."""
    tags: Any = Field(sa_column=Column(JSON))
    changed_at: float | None
    """By the vendor's clock."""
    digest: str
    """Of what the vendor's list showed, so that an unchanged row is not written again."""
    gone_at: float | None = None
    """When the vendor's list no longer had it."""


class PipelineRunRow(SQLModel, table=True):
    """One run of a pipeline or one sync of a connection, whoever started it. Its times are the vendor's."""

    __tablename__ = "pipeline_run"
    __table_args__ = (
        Index("pipeline_run_status", "account", "kind", "pipeline_id", "status", "started_at"),
        Index("pipeline_run_started", "account", "kind", "started_at"),
        Index(
            "pipeline_run_open",
            "account",
            "kind",
            "started_at",
            sqlite_where=text("status IN ('queued','running')"),
            postgresql_where=text("status IN ('queued','running')"),
        ),
        Index(
            "pipeline_run_night",
            "night",
            sqlite_where=text("night IS NOT NULL"),
            postgresql_where=text("night IS NOT NULL"),
        ),
    )

    account: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    id: str = Field(primary_key=True)
    pipeline_id: str
    status: str
    """queued, running, succeeded, failed, cancelled, or unknown for a word nobody told us."""
    word: str
    """The vendor's own word."""
    trigger: str | None = None
    started_at: float
    """When it started, or else came to be; 0 where the vendor says neither."""
    ended_at: float | None = None
    seconds: float | None = None
    rows: int | None = Field(default=None, sa_column=Column(BigInteger))
    error: str | None = None
    log_tail: str | None = None
    digest: str | None = None
    """Of what the vendor's list showed; None until a list has shown it."""
    night: str | None = None
    """The run key of the night that started it; None: nobody of ours did."""
    generation: int | None = None
    triggered_at: float | None = None
    """By the ledger's clock."""
