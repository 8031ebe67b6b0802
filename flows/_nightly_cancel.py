"""What happens when somebody cancels a night: the runs it has started are asked to stop."""

from datetime import date
from functools import partial
from typing import Any

from prefect import Flow, State
from prefect.client.schemas.objects import FlowRun

from flows._nightly_dates import series_of, tonight, zone_of
from plait.http.errors import ConfigurationError, PlaitError
from plait.ledger.pipelines import OPEN, keep_outcome, runs_of_night
from plait.pipelines.nights import night_key
from tasks import Run, effects_of
from tasks._progress import say
from tasks.planasonix_batch import KINDS, source_of


async def cancel_started(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Ask every run of this flow run's night that is at work to stop, and note how it stands then.

    Prefect calls it, from a process of its own, when a flow run is cancelled. Runs that somebody else
    started are left alone. A night that is played again afterwards tells of them as cancelled.
    """
    del flow, state
    given = flow_run.parameters
    blocks = [given.get("planasonix"), given.get("ledger")]
    if not all(isinstance(block, str | None) for block in blocks):
        raise ConfigurationError(
            "the runs of a cancelled night are left at work: its blocks were given as objects, not by name"
        )
    planasonix, ledger = blocks
    logical_date = given.get("logical_date")
    zone = zone_of(given.get("timezone") or "UTC")
    night = tonight(logical_date and date.fromisoformat(logical_date), zone, flow_run)
    async with effects_of(ledger, run_key=night_key(series_of(given.get("series"), flow_run), night)) as run:
        await cancel_night(run, planasonix)


async def cancel_night(run: Run, planasonix: str | None) -> int:
    """Cancel what the run's night has at work; gives how many runs were asked to stop."""
    asked = 0
    for kind in KINDS:
        source = await source_of(run, planasonix, kind)
        mine = partial(runs_of_night, scope=source.scope, night=run.key)
        rows = await run.ledger.database.read(mine)
        for row in rows:
            if row.status not in OPEN:
                continue
            asked += 1
            try:
                stopped = await source.cancel(row.id)
            except PlaitError as error:
                say(f"run {row.id} could not be asked to stop: {error}")
                continue
            outcome = partial(keep_outcome, scope=source.scope, record=stopped)
            await run.ledger.database.write(outcome, commit="sync")
            say(f"run {row.id} was asked to stop and is {stopped.status}")
    return asked
