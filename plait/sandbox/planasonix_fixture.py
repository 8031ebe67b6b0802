"""What a Planasonix stand-in can be filled with: pipelines and connections by the group, and past nights."""

from typing import Final, Literal, TypeAlias

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

Behaviour: TypeAlias = Literal["ok", "fail", "hang", "flaky"]
"""What becomes of work: it succeeds, fails, goes on until it is cancelled, or fails a few times first."""
PipelineStatus: TypeAlias = Literal["draft", "active", "paused", "error", "archived"]


class Workload(BaseModel):
    """How the work of a pipeline or a connection goes."""

    model_config = ConfigDict(extra="forbid")

    behaviour: Behaviour = "ok"
    failures: int = Field(default=1, ge=1)
    """How many runs fail before the first success of `flaky`, counted from the first that is asked for."""
    seconds: float | None = Field(default=None, ge=0.0, le=86400.0)
    """How long it works; None: the stand-in's `work_seconds`."""
    rows: int = Field(default=1000, ge=0)
    """About so many rows each time; the seed decides how many more or less."""


class Group(Workload):
    """Several alike."""

    count: int = Field(default=1, ge=1, le=100_000)
    name: str = Field(default="unnamed_{n:04d}", min_length=1, max_length=200)
    """`{n}` counts from 1; a group of several needs it."""

    def names(self) -> list[str]:
        """The name of each."""
        return [self.name.format(n=number) for number in range(1, self.count + 1)]


class PipelineGroup(Group):
    """Pipelines."""

    name: str = Field(default="pipeline_{n:04d}", min_length=1, max_length=200)
    project: str = "proj_default"
    tags: tuple[str, ...] = ()
    status: PipelineStatus = "active"


class ConnectionGroup(Group):
    """Connections."""

    name: str = Field(default="connection_{n:04d}", min_length=1, max_length=200)
    type: str = "postgres"
    category: Literal["source", "destination"] = "source"
    status: Literal["active", "paused"] = "active"
    """A paused connection refuses to sync."""


class History(BaseModel):
    """Runs of past nights, spread evenly over pipelines and nights."""

    model_config = ConfigDict(extra="forbid")

    nights: int = Field(default=14, ge=1, le=3660)
    runs: int | None = Field(default=None, ge=1, le=2_000_000)
    """How many altogether; None: one of each pipeline each night."""
    until: AwareDatetime | None = None
    """The last night; None: the one before the present day, in UTC."""
    failing: float = Field(default=0.02, ge=0.0, le=1.0)
    """Which part of them failed."""
    seconds: tuple[float, float] | None = None
    """Shortest and longest usual duration; None: each pipeline's own `seconds`, more or less."""


class Fixture(BaseModel):
    """A world to start with, or to add to one."""

    model_config = ConfigDict(extra="forbid")

    organization: str = Field(default="acme", min_length=1)
    replace: bool = False
    """Forget everything of the organization first; the count of effects stays."""
    pipelines: tuple[PipelineGroup, ...] = ()
    connections: tuple[ConnectionGroup, ...] = ()
    history: History | None = None


SMALL: Final = Fixture(
    connections=(
        ConnectionGroup(name="orders_db"),
        ConnectionGroup(name="crm_that_fails", type="salesforce", behaviour="fail"),
        ConnectionGroup(name="sheets_that_hang", type="google_sheets", behaviour="hang"),
        ConnectionGroup(name="warehouse", type="snowflake", category="destination"),
    ),
    pipelines=(
        PipelineGroup(name="nightly_sales_sync", tags=("nightly", "sales"), rows=12_000),
        PipelineGroup(name="nightly_stock_sync", tags=("nightly",), rows=3_000),
        PipelineGroup(name="broken_sync", behaviour="fail"),
        PipelineGroup(name="endless_sync", behaviour="hang"),
        PipelineGroup(name="shaky_sync", behaviour="flaky"),
        PipelineGroup(name="unfinished", status="draft"),
    ),
)
"""Each behaviour once."""
