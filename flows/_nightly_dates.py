"""Which night it is, which nights were missed, and how a night is named."""

from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.runtime import flow_run as runtime
from pydantic import TypeAdapter

from plait.http.errors import InvalidInput
from plait.ledger import Ledger
from plait.ledger.pipelines import keep_position, position_of

ACCOUNT = "plait"
"""Cursors of our own stand beside those of vendors."""


def zone_of(name: str) -> ZoneInfo:
    """The time zone of this name; raises `InvalidInput` for an unknown one."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise InvalidInput(f"there is no time zone {name!r}; give one such as Europe/Berlin or UTC") from None


def tonight(logical_date: date | None, zone: ZoneInfo, run: FlowRun | None = None) -> date:
    """The date asked for; else the one the run was scheduled for, however late it starts; else today's.

    Without a run, the present one is meant.
    """
    if logical_date is not None:
        return logical_date
    run = run or _flow_run()
    moment = run.expected_start_time if run is not None and run.auto_scheduled else None
    return (moment or datetime.now(UTC)).astimezone(zone).date()


def series_of(given: str | None, run: FlowRun | None = None) -> str:
    """What is given, else the deployment, else `local`: nights of one series and date are one intent."""
    if given:
        return given
    run = run or _flow_run()
    return str(run.deployment_id) if run is not None and run.deployment_id else "local"


def run_name() -> str:
    """A flow run's name: its night, as far as parameters and schedule tell."""
    given = runtime.parameters.get("logical_date")
    moment = runtime.scheduled_start_time or datetime.now(UTC)
    zone = zone_of(runtime.parameters.get("timezone") or "UTC")
    return f"night of {given or moment.astimezone(zone).date()}"


async def missed(ledger: Ledger, series: str, night: date, *, at_most: int, zone: ZoneInfo) -> list[date]:
    """Nights since the last one that was played to its end, the oldest first; none before the first ever."""
    last = await last_played(ledger, series)
    if last is None or at_most == 0:
        return []
    run = _flow_run()
    deployment = None if run is None else run.deployment_id
    expected = await nights_of(deployment, last + timedelta(days=1), night - timedelta(days=1), zone)
    return expected[-at_most:]


async def last_played(ledger: Ledger, series: str) -> date | None:
    """The newest night of this series that was played to its end."""
    stored = await ledger.database.read(lambda connection: position_of(connection, ACCOUNT, _stream(series)))
    return None if stored is None else date.fromisoformat(stored["last"])


async def note_played(ledger: Ledger, series: str, night: date) -> None:
    """This night was played to its end; an older one changes nothing."""
    last = await last_played(ledger, series)
    position = {"last": max(night, last or night).isoformat()}
    await ledger.database.write(
        lambda connection: keep_position(ledger.database, connection, ACCOUNT, _stream(series), position),
        commit="sync",
    )


async def nights_of(deployment: UUID | None, first: date, last: date, zone: ZoneInfo) -> list[date]:
    """The nights from `first` to `last` that a deployment's schedules name; all, without a deployment."""
    days = [first + timedelta(days=n) for n in range(max((last - first).days + 1, 0))]
    if not days or deployment is None:
        return days
    async with get_client() as client:
        found = await client.read_deployment(deployment)
    schedules = [one.schedule.model_dump() for one in found.schedules if one.active]
    # Only the server's models know their dates, and they are heavy to import.
    from prefect.server.schemas.schedules import SCHEDULE_TYPES  # noqa: PLC0415

    begin, end = (datetime.combine(day, time(), zone) for day in (first, last + timedelta(days=1)))
    nights: set[date] = set()
    for schedule in schedules:
        known = TypeAdapter(SCHEDULE_TYPES).validate_python(schedule)
        moments = await known.get_dates(n=100, start=begin, end=end - timedelta(seconds=1))
        nights |= {moment.astimezone(zone).date() for moment in moments}
    return sorted(nights)


def _stream(series: str) -> str:
    return f"nights of {series}"


def _flow_run() -> FlowRun | None:
    context = FlowRunContext.get()
    return None if context is None else context.flow_run
