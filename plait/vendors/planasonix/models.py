"""What Planasonix says and is told, in one form for every dialect (planasonix.md §3, §7.1).

What we read takes snake_case and camelCase, keeps unknown fields and unknown words, and never fails over
a time or a number it cannot use. What we send refuses unknown fields; `bodies` writes it for a dialect.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar

from pydantic import (
    AliasChoices,
    AliasGenerator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
)
from pydantic.alias_generators import to_camel

T = TypeVar("T")


class State(StrEnum):
    """What a status word means, whichever dialect it comes from (planasonix.md §4)."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    """A word nobody has told us; whoever waits must say so at once, not wait on."""

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self in {State.SUCCEEDED, State.FAILED, State.CANCELLED}


WORDS: Final[Mapping[str, State]] = {
    "queued": State.QUEUED,
    "pending": State.QUEUED,
    "running": State.RUNNING,
    "in_progress": State.RUNNING,
    "cancelling": State.RUNNING,
    "canceling": State.RUNNING,
    "succeeded": State.SUCCEEDED,
    "success": State.SUCCEEDED,
    "completed": State.SUCCEEDED,
    "complete": State.SUCCEEDED,
    "failed": State.FAILED,
    "error": State.FAILED,
    "cancelled": State.CANCELLED,
    "canceled": State.CANCELLED,
}
"""Status words in lower case: those of planasonix.md §4, and other spellings of them."""


def state_of(word: str) -> State:
    """What a status word means; `UNKNOWN` for one we were not told."""
    return WORDS.get(word.strip().lower().replace("-", "_").replace(" ", "_"), State.UNKNOWN)


def _names(field: str) -> AliasChoices:
    return AliasChoices(field, to_camel(field))


def _listed(value: Any) -> Any:
    return [] if value is None else value


def _word(value: Any) -> Any:
    return "" if value is None else str(value)


def _moment(value: Any) -> Any:
    """A time with its zone; without one it is UTC [assumed], and one that cannot be read is None."""
    if value in {None, ""}:
        return None
    try:
        moment = _MOMENT.validate_python(value)
    except ValidationError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _count(value: Any) -> Any:
    try:
        return None if value is None or isinstance(value, bool) else int(float(value))
    except (TypeError, ValueError, OverflowError):
        return None


def _number(value: Any) -> Any:
    try:
        return None if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


def _failure(value: Any) -> Any:
    """`error` as null, text or object (C14)."""
    if value in (None, "", {}, []):
        return None
    return value if isinstance(value, Mapping | BaseModel) else {"message": str(value)}


_MOMENT: Final[TypeAdapter[datetime]] = TypeAdapter(datetime)

Listed = Annotated[list[T], BeforeValidator(_listed)]
Word: TypeAlias = Annotated[str, BeforeValidator(_word)]
Moment: TypeAlias = Annotated[datetime | None, BeforeValidator(_moment)]
Count: TypeAlias = Annotated[int | None, BeforeValidator(_count)]
Number: TypeAlias = Annotated[float | None, BeforeValidator(_number)]


class Received(BaseModel):
    """Base of what the server answers."""

    model_config = ConfigDict(
        extra="allow", populate_by_name=True, alias_generator=AliasGenerator(validation_alias=_names)
    )


class Sent(BaseModel):
    """Base of what we send."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Failure(Received):
    """Why something failed."""

    code: Word = ""
    message: Word = ""
    details: Any = None

    @property
    def text(self) -> str:
        """Code and message, or whatever the server said instead."""
        said = ": ".join(part for part in (self.code, self.message) if part)
        return said or str(self.details or self.model_extra or "failed, without further words")


Error: TypeAlias = Annotated[Failure | None, BeforeValidator(_failure)]


class Work(Received):
    """What goes on at Planasonix and ends: a run, a job, a backfill, a node of a run."""

    id: str
    status: Word = Field(default="", validation_alias=AliasChoices("status", "state"))
    """The server's own word; `state` says what it means."""
    error: Error = None
    error_message: str | None = None
    created_at: Moment = None
    queued_at: Moment = None
    started_at: Moment = None
    finished_at: Moment = Field(
        default=None,
        validation_alias=AliasChoices(
            "finished_at", "finishedAt", "ended_at", "endedAt", "completed_at", "completedAt"
        ),
    )
    duration_seconds: Number = None

    @property
    def state(self) -> State:
        """What the status word means."""
        return state_of(self.status)

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.state.ended

    @property
    def failure(self) -> str | None:
        """What the server says went wrong."""
        return self.error_message or (None if self.error is None else self.error.text)

    @property
    def newest_time(self) -> datetime | None:
        """The moment by which lists are sorted: when it started, or came to be."""
        return self.started_at or self.queued_at or self.created_at

    @property
    def duration(self) -> float | None:
        """Seconds it took, as the server says or as its times tell."""
        if self.duration_seconds is not None or self.started_at is None or self.finished_at is None:
            return self.duration_seconds
        return (self.finished_at - self.started_at).total_seconds()


class RunMetrics(Received):
    """What a run moved and cost; the field names inside `metrics` are not known for sure [inferred]."""

    rows_read: Count = None
    rows_written: Count = None
    bytes: Count = None
    cost: Number = None


class PipelineRun(Work):
    """One run of a pipeline (planasonix.md §3.3)."""

    id: str = Field(validation_alias=AliasChoices("id", "run_id", "runId"))
    pipeline_id: str | None = None
    trigger: str | None = None
    """`schedule`, `manual`, or another word; None where the server does not say."""
    metrics: Annotated[RunMetrics, BeforeValidator(lambda value: value or {})] = Field(
        default_factory=RunMetrics
    )
    records_written: Count = None

    @property
    def scheduled(self) -> bool:
        """Whether a schedule started it."""
        return (self.trigger or "").strip().lower() in {"schedule", "scheduled"}

    @property
    def rows_read(self) -> int | None:
        """Rows read, as far as the server tells."""
        return self.metrics.rows_read

    @property
    def rows_written(self) -> int | None:
        """Rows written, as far as the server tells."""
        return self.records_written if self.metrics.rows_written is None else self.metrics.rows_written


class RunNode(Work):
    """One node of a run (planasonix.md §3.3); which fields there are is told in prose only [inferred]."""

    id: str = Field(validation_alias=AliasChoices("id", "node_id", "nodeId"))
    name: str | None = None
    type: str | None = None
    retries: Count = None
    rows: Count = None
    rows_read: Count = None
    rows_written: Count = None


class LogLine(Received):
    """One line of a run's log."""

    message: Word = Field(default="", validation_alias=AliasChoices("message", "msg", "text", "line"))
    level: str | None = None
    cursor: str | None = None
    """For `since`: what comes after this line, where lines have cursors."""
    time: Moment = Field(default=None, validation_alias=AliasChoices("time", "timestamp", "ts", "at"))
    node_id: str | None = None

    @property
    def text(self) -> str:
        """The line as people read it."""
        stamp = "" if self.time is None else f"{self.time.isoformat()} "
        level = f"{self.level.upper()} " if self.level else ""
        return f"{stamp}{level}{self.message}"


class RunLogs(Received):
    """A run's log, in whichever of its three forms it came: text, JSON lines, or addresses of files."""

    lines: Listed[LogLine] = Field(default_factory=list)
    urls: Listed[str] = Field(default_factory=list)
    """Where the log lies as files; they may be signed and end soon."""
    cursor: str | None = None
    """For `since`: what comes after this answer."""

    def tail(self, count: int) -> str:
        """The last lines as text."""
        return "\n".join(line.text for line in self.lines[-count:]) if count > 0 else ""


class JobProgress(Received):
    """How far a sync job is."""

    rows_synced: Count = None


class SyncJob(Work):
    """One sync of a connection (planasonix.md §3.4)."""

    id: str = Field(validation_alias=AliasChoices("id", "job_id", "jobId"))
    type: str | None = None
    connection_id: str | None = None
    pipeline_id: str | None = None
    sync_type: str | None = None
    priority: str | None = None
    streams: list[Any] | None = None
    metadata: dict[str, Any] | None = None
    """As echoed; None where the server shows none, which no source says that it does."""
    idempotency_key: str | None = None
    trigger: str | None = None
    progress: Annotated[JobProgress, BeforeValidator(lambda value: value or {})] = Field(
        default_factory=JobProgress
    )
    adopted: bool = False
    """Somebody else's active job, taken for ours because the caller asked for that."""

    @property
    def scheduled(self) -> bool:
        """Whether a schedule started it."""
        return (self.trigger or "").strip().lower() in {"schedule", "scheduled"}


class JobSummary(Received):
    """What a sync job did in all."""

    total_rows_synced: Count = None
    duration_seconds: Number = None


class StreamResult(Received):
    """What a sync job did to one stream."""

    name: str | None = Field(default=None, validation_alias=AliasChoices("name", "stream", "stream_name"))
    rows_synced: Count = Field(
        default=None, validation_alias=AliasChoices("rows_synced", "rowsSynced", "rows", "row_count")
    )
    status: Word = ""


class JobResults(Received):
    """The results of a sync job (planasonix.md §3.4)."""

    summary: Annotated[JobSummary, BeforeValidator(lambda value: value or {})] = Field(
        default_factory=JobSummary
    )
    streams: Listed[StreamResult] = Field(default_factory=list)


class Backfill(Work):
    """A backfill of a connection (planasonix.md §3.4); its final words are not known."""

    id: str = Field(validation_alias=AliasChoices("id", "backfill_id", "backfillId"))
    connection_id: str | None = None
    start_at: Moment = None
    end_at: Moment = None
    tables: Listed[str] = Field(default_factory=list)
    progress_percent: Number = None


class Connection(Received):
    """A source or destination (planasonix.md §3.1)."""

    id: str = Field(validation_alias=AliasChoices("id", "connection_id", "connectionId"))
    name: str | None = None
    type: str | None = None
    category: str | None = None
    """`source` or `destination`, where the dialect has it."""
    credential_id: str | None = None
    settings: Annotated[dict[str, Any], BeforeValidator(lambda value: value or {})] = Field(
        default_factory=dict, validation_alias=AliasChoices("settings", "config", "params"), repr=False
    )
    """`config` or `params`; secrets in it are never in clear."""
    created_at: Moment = None
    updated_at: Moment = None


class ConnectionCheck(Received):
    """What a test of a connection's settings said; a failed one is no error of the call."""

    success: bool = False
    message: Word = ""


class Pipeline(Received):
    """A pipeline (planasonix.md §3.2)."""

    id: str = Field(validation_alias=AliasChoices("id", "pipeline_id", "pipelineId"))
    name: str | None = None
    project_id: str | None = None
    folder_id: str | None = None
    status: Word = ""
    """`draft`, `active`, `paused`, `archived`, `error`, or a word not known yet."""
    tags: Listed[str] = Field(default_factory=list)
    """Where the server shows them [assumed]."""
    source_connection_id: str | None = None
    dest_connection_id: str | None = None
    nodes: list[Any] | None = None
    edges: list[Any] | None = None
    """None in lists, which show no graph."""
    created_at: Moment = None
    updated_at: Moment = None

    @property
    def active(self) -> bool:
        """Whether it is meant to run."""
        return self.status.strip().lower() == "active"

    @property
    def paused(self) -> bool:
        """Whether somebody paused it."""
        return self.status.strip().lower() == "paused"


class Schedule(Received):
    """A pipeline's schedule (planasonix.md §3.5)."""

    id: str = Field(validation_alias=AliasChoices("id", "schedule_id", "scheduleId"))
    pipeline_id: str | None = None
    pipeline_name: str | None = None
    cron_expression: str | None = None
    frequency: str | None = None
    timezone: str | None = None
    enabled: bool | None = None
    next_run_at: Moment = None
    last_run_at: Moment = None
    last_run_status: str | None = None
    created_at: Moment = None
    updated_at: Moment = None


class Webhook(Received):
    """A subscription to outbound events; its shape is not documented [assumed]."""

    id: str = Field(validation_alias=AliasChoices("id", "webhook_id", "webhookId"))
    url: str | None = None
    events: Listed[str] = Field(default_factory=list)
    enabled: bool | None = None
    secret: SecretStr | None = None
    """Shown once, if at all; never written to the ledger."""


Category: TypeAlias = Literal["source", "destination"]
Priority: TypeAlias = Literal["low", "normal", "high"]
"""`high` needs the vendor's highest tier."""
SyncType: TypeAlias = Literal["incremental", "full"]


class NewConnection(Sent):
    """A connection to create, or settings to test."""

    name: str = Field(min_length=1)
    type: str = Field(min_length=1)
    settings: dict[str, Any] = Field(default_factory=dict, repr=False)
    """Secrets may be given as `SecretStr`, so that nothing shows them on the way."""
    credential_id: str | None = None
    category: Category | None = None
    """Needed by the bare dialect only."""


class NewPipeline(Sent):
    """A pipeline to create; the bare dialect knows no projects and creates it paused."""

    name: str = Field(min_length=1)
    nodes: list[dict[str, Any]] = Field(default_factory=list)
    edges: list[dict[str, Any]] = Field(default_factory=list)
    project_id: str | None = None
    folder_id: str | None = None


class NewSchedule(Sent):
    """A schedule to create."""

    pipeline_id: str = Field(min_length=1)
    cron_expression: str = Field(min_length=1)
    """Five fields."""
    timezone: str = Field(default="UTC", min_length=1)
    enabled: bool = True


class NewWebhook(Sent):
    """A subscription to create [assumed]."""

    url: str = Field(min_length=1)
    events: list[str] = Field(default=["job.completed", "job.failed"], min_length=1)


class SyncOptions(Sent):
    """How to sync a connection; what is left out is the server's choice."""

    sync_type: SyncType | None = None
    priority: Priority | None = None
    streams: list[str] | None = None
    pipeline_id: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    """Values of the caller's own; the marker that finds the job again is added under `plait`."""


class BackfillOptions(Sent):
    """Which part of the past to load again."""

    start_at: datetime
    end_at: datetime
    tables: list[str] = Field(default_factory=list)
    priority: Priority | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
