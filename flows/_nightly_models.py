"""What `nightly_pipeline_sync` is given and what it gives back."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path
from zoneinfo import ZoneInfo

from pydantic import BaseModel, Field

from blocks import PlanasonixCredentials
from flows._models import Answer
from plait.content.text import counted
from plait.http.errors import PlaitError
from plait.ledger.pipelines import Kind
from plait.pipelines.nights import NightSum
from plait.pipelines.play import Due, Played, Rules
from plait.pipelines.watch import Pace


class Trigger(StrEnum):
    """Which of the chosen pipelines are due."""

    ALL = "all"
    STALE = "stale"
    """Those without a success that is younger than some hours."""
    FAILED = "failed"
    """Those whose last run did not succeed."""
    NONE = "none"
    """None: the history is brought in, and nothing is started."""


class Compare(StrEnum):
    """How closely definitions are compared with those in the ledger."""

    AUTO = "auto"
    """In full where a new night chooses by name, pattern or tag; else quickly."""
    QUICK = "quick"
    FULL = "full"


class FailOn(StrEnum):
    """When the flow run counts as failed."""

    ANY = "any"
    CRITICAL = "critical"
    NONE = "none"


class Busy(StrEnum):
    """What to do where somebody else syncs a connection already."""

    WAIT = "wait"
    ADOPT = "adopt"
    FAIL = "fail"


class Selection(BaseModel):
    """What was chosen: ids and names whatever their status, patterns and tags of what is active."""

    pipelines: list[str] = Field(default_factory=list)
    connections: list[str] = Field(default_factory=list)
    tags: list[str] = Field(default_factory=list)
    critical: list[str] = Field(default_factory=list)

    @property
    def kinds(self) -> list[Kind]:
        """Of what there is something."""
        wanted: dict[Kind, bool] = {
            "pipeline": bool(self.pipelines or self.tags),
            "connection": bool(self.connections),
        }
        return [kind for kind, chosen in wanted.items() if chosen]


class Policy(BaseModel):
    """Which of them are due."""

    trigger: Trigger
    stale_hours: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What is the same for every night of a run. Times are seconds."""

    planasonix: PlanasonixCredentials | str | None
    series: str
    zone: ZoneInfo
    selection: Selection
    policy: Policy
    compare: Compare
    values: Mapping[str, str]
    concurrency: int
    deadline: float
    cancel_late: bool
    retries: int
    log_lines: int
    busy: Busy
    poll: float

    def rules(self, run_key: str, values: Mapping[str, str]) -> Rules:
        """How one night is played."""
        return Rules(
            night=run_key,
            values=values,
            concurrency=self.concurrency,
            deadline=self.deadline,
            cancel_late=self.cancel_late,
            wait_for_others=self.busy is Busy.WAIT,
            retries=self.retries,
            log_lines=self.log_lines,
            pace=Pace(fastest=self.poll, slowest=max(self.poll, 30.0)),
        )


class Plan(BaseModel):
    """What is due in one night; decided once."""

    chosen: int = 0
    due: list[Due] = Field(default_factory=list)
    absent: list[str] = Field(default_factory=list)
    """Ids, names and patterns that fit nothing."""
    absent_tags: list[str] = Field(default_factory=list)
    values: dict[str, str] = Field(default_factory=dict)
    """What every run of the night is started with."""


class Night(BaseModel):
    """One night and what became of it."""

    night: date
    run_key: str
    chosen: int
    fits_nothing: list[str]
    """Of what was chosen."""
    played: list[Played]
    started: int
    """Runs that were started and not known before; none where the night is played again."""
    requests: int
    """What bringing in the history asked."""
    rows_written: int
    """What it wrote to the ledger."""

    @property
    def failures(self) -> list[Played]:
        """What did not succeed."""
        return [one for one in self.played if one.became != "succeeded"]

    @property
    def summary(self) -> str:
        """One sentence."""
        succeeded = len(self.played) - len(self.failures)
        told = f"{self.night}: {succeeded} of {len(self.played)} due succeeded, {self.started} started now"
        return f"{told}; nothing fits {', '.join(self.fits_nothing)}" if self.fits_nothing else told


class NightlyPipelineSync(BaseModel):
    """What the flow returns."""

    nights: list[Night]
    """Missed ones first, tonight's last."""
    past: list[NightSum]
    """The last nights of what was due tonight, tonight's last."""
    report: Path
    chart: Path
    answer: Answer | None = None
    """What Planck AI said about the fresh data, where it was asked."""
    problems: list[str] = Field(default_factory=list)
    """What went wrong after the pipelines: a question without an answer, a message not posted."""

    @property
    def tonight(self) -> Night:
        """The night that was asked for."""
        return self.nights[-1]

    def failures(self, fail_on: FailOn) -> list[Played]:
        """What makes the run fail."""
        if fail_on is FailOn.NONE:
            return []
        found = [one for night in self.nights for one in night.failures]
        return found if fail_on is FailOn.ANY else [one for one in found if one.critical]

    @property
    def summary(self) -> str:
        """One sentence a night."""
        return ". ".join(night.summary for night in self.nights)


class NightFailed(PlaitError):
    """What `fail_on` counts has not succeeded. `result` is what the flow gives back otherwise."""

    def __init__(self, message: str, result: NightlyPipelineSync) -> None:
        super().__init__(message)
        self.result = result


def listed(failures: list[Played], limit: int = 20) -> str:
    """Failures in one line: names and what became of them."""
    shown = ", ".join(f"{one.name} ({one.became})" for one in failures[:limit])
    more = len(failures) - limit
    return f"{shown}, and {counted(more, 'more')}" if more > 0 else shown
