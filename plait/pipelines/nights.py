"""The last nights in numbers, for a chart."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from pydantic import BaseModel

from plait.ledger.pipelines import ENDED, Ran


class NightSum(BaseModel):
    """What some pipelines did in one night."""

    night: date
    runs: int = 0
    failed: int = 0
    """Runs that ended otherwise than well."""
    seconds: float = 0.0
    rows: int = 0
    uncounted: int = 0
    """Successes whose rows are not known."""

    def __add__(self, other: "NightSum") -> "NightSum":
        return NightSum(
            night=self.night,
            runs=self.runs + other.runs,
            failed=self.failed + other.failed,
            seconds=self.seconds + other.seconds,
            rows=self.rows + other.rows,
            uncounted=self.uncounted + other.uncounted,
        )


@dataclass(frozen=True, slots=True)
class Span:
    """Some nights in a row."""

    last: date
    count: int
    zone: ZoneInfo

    @property
    def begin(self) -> float:
        """When the first of them began, in epoch seconds."""
        first = self.last - timedelta(days=self.count - 1)
        return datetime(first.year, first.month, first.day, tzinfo=self.zone).timestamp()


def sum_nights(runs: Iterable[Ran], pipeline_ids: Collection[str] | None, span: Span) -> list[NightSum]:
    """Each night of the span, the oldest first, those without a run too; of these pipelines, or of all.

    A run that a night of ours started belongs to that night, another to the day it started on.
    """
    nights = (span.last - timedelta(days=n) for n in reversed(range(span.count)))
    sums = {night: NightSum(night=night) for night in nights}
    for run in runs:
        found = sums.get(_night(run, span.zone))
        if found is None or run.status not in ENDED:
            continue
        if pipeline_ids is not None and run.pipeline_id not in pipeline_ids:
            continue
        found.runs += 1
        found.failed += run.status != "succeeded"
        found.seconds += run.seconds or 0.0
        found.rows += run.rows or 0
        found.uncounted += run.rows is None and run.status == "succeeded"
    return list(sums.values())


def night_key(series: str, night: date) -> str:
    """The run key of one night; what starts under it starts once."""
    return f"night {series} {night.isoformat()}"


def _night(run: Ran, zone: ZoneInfo) -> date:
    if run.night is not None:
        return date.fromisoformat(run.night.rsplit(" ", 1)[-1])
    return datetime.fromtimestamp(run.started_at, UTC).astimezone(zone).date()
