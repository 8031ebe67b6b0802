"""What the Planasonix stand-in keeps: items that stay, and work that goes on and ends."""

from typing import Any, ClassVar, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from plait.sandbox.planasonix_fixture import Workload

State: TypeAlias = Literal["queued", "running", "succeeded", "failed", "cancelled"]
Kind: TypeAlias = Literal["run", "job", "backfill"]
ENDED: Final = frozenset({"succeeded", "failed", "cancelled"})


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: str
    organization: str
    at: float
    """Unix seconds; what lists are ordered by."""


class Item(_Row):
    """Something that stays until it is deleted; `at` is its last change."""

    kind: ClassVar[str]
    prefix: ClassVar[str]

    created_at: float

    @property
    def due_at(self) -> float | None:
        """When it acts by itself."""
        return None


class Connection(Item):
    """A source or a destination."""

    kind: ClassVar[str] = "connection"
    prefix: ClassVar[str] = "conn"

    name: str
    type: str
    category: str = "source"
    status: str = "active"
    config: dict[str, Any] = Field(default_factory=dict)
    credential_id: str | None = None
    workload: Workload = Workload()
    asked: int = 0
    """How often it was asked to sync."""


class Pipeline(Item):
    """A pipeline."""

    kind: ClassVar[str] = "pipeline"
    prefix: ClassVar[str] = "pl"

    name: str
    project_id: str | None = None
    folder_id: str | None = None
    status: str = "active"
    tags: list[str] = Field(default_factory=list)
    nodes: list[dict[str, Any]] = Field(default_factory=list)
    edges: list[dict[str, Any]] = Field(default_factory=list)
    trashed: bool = False
    workload: Workload = Workload()
    asked: int = 0
    """How often a run was asked for."""


class Schedule(Item):
    """When a pipeline runs by itself."""

    kind: ClassVar[str] = "schedule"
    prefix: ClassVar[str] = "sch"

    pipeline_id: str
    cron_expression: str
    frequency: str
    timezone: str
    enabled: bool
    next_at: float | None = None
    last_at: float | None = None

    @property
    def due_at(self) -> float | None:
        """When it fires."""
        return self.next_at


class Webhook(Item):
    """An address that is told of events."""

    kind: ClassVar[str] = "webhook"
    prefix: ClassVar[str] = "wh"

    url: str
    events: list[str]
    secret: str | None = None
    active: bool = True


class Failure(BaseModel):
    """Why work failed."""

    code: str
    message: str


class Work(_Row):
    """A run of a pipeline, a sync job or a backfill of a connection; `at` is its creation."""

    kind: Kind
    parent: str
    """Id of the pipeline or connection."""
    trigger: str = "manual"
    asked: dict[str, Any] = Field(default_factory=dict)
    """What the request asked for."""
    state: State = "queued"
    outcome: Literal["succeeded", "failed"] = "succeeded"
    """How it will end by itself."""
    starts_at: float | None
    """None: it waits for the end of another."""
    seconds: float | None
    """How long it works; None: until it is cancelled."""
    cancel_asked: bool = False
    cancel_at: float | None = None
    """When a cancel that was accepted takes effect."""
    started_at: float | None = None
    finished_at: float | None = None
    rows: int = 0
    """How many it writes when all goes well."""
    failure: Failure | None = None
    """What it fails with, if it fails."""

    @property
    def due_at(self) -> float | None:
        """When its state changes by itself."""
        match self.state:
            case "queued":
                return _earliest(self.starts_at, self.cancel_at)
            case "running":
                return _earliest(self.ends_at, self.cancel_at)
            case _:
                return None

    @property
    def ends_at(self) -> float | None:
        """When it ends by itself."""
        if self.seconds is None or self.starts_at is None:
            return None
        return self.starts_at + self.seconds

    @property
    def ended(self) -> bool:
        """Whether its state is final."""
        return self.state in ENDED

    def part(self, now: float) -> float:
        """How much of it is done, from 0 to 1."""
        if self.state == "succeeded":
            return 1.0
        if self.started_at is None:
            return 0.0
        passed = (self.finished_at or now) - self.started_at
        return min(0.99, passed / (self.seconds or 60.0)) if self.state != "failed" else 0.5


def _earliest(*moments: float | None) -> float | None:
    return min((moment for moment in moments if moment is not None), default=None)
