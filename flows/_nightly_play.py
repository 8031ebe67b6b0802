"""The steps of `nightly_pipeline_sync` between the choice and the report."""

from datetime import date
from functools import partial

from sqlalchemy import Connection

from flows._nightly_dates import note_played
from flows._nightly_models import Busy, Night, Plan, Selection, Setup
from flows._nightly_plan import Planner, is_pattern
from plait.content.text import counted
from plait.ledger.pipelines import Scope, runs_since
from plait.pipelines.nights import NightSum, Span, sum_nights
from plait.pipelines.play import Due, Played
from tasks import Run
from tasks._progress import say
from tasks.planasonix_batch import look_up_runs, play_night, source_of, sync_history


async def play(run: Run, setup: Setup, night: date) -> Night:
    """Decide what is due in a night, run it, and say what became of it; the second time starts nothing."""
    say(f"{night}: bringing in definitions and run history")
    plan, synced = await Planner(run, setup).plan(night)
    say(f"{night}: {counted(len(plan.due), 'pipeline')} of {plan.chosen} chosen are due")
    played, started = await _play_due(run, setup, plan)
    if started:  # so that the next run finds nothing new in the lists
        synced += await sync_history(setup.planasonix, kinds=setup.selection.kinds)
    absent = [_absent(entry, setup.selection) for entry in plan.absent if not is_pattern(entry)]
    result = Night(
        night=night,
        run_key=run.key,
        chosen=plan.chosen,
        fits_nothing=[*plan.absent, *(f"tag {tag}" for tag in plan.absent_tags)],
        played=[*played, *absent],
        started=started,
        requests=synced.requests,
        rows_written=synced.written,
    )
    if not any(one.became == "unknown" for one in played):
        await note_played(run.ledger, setup.series, night)
    say(result.summary)
    return result


async def _play_due(run: Run, setup: Setup, plan: Plan) -> tuple[list[Played], int]:
    if not plan.due:
        return [], 0
    rules = setup.rules(run.key, plan.values)
    return await play_night(setup.planasonix, plan.due, rules, adopt=setup.busy is Busy.ADOPT)


def _absent(entry: str, selection: Selection) -> Played:
    return Played(
        id=entry,
        name=entry,
        kind="connection" if entry in selection.connections else "pipeline",
        critical=entry in selection.critical,
        became="refused",
        error="Planasonix lists nothing of this id or name",
    )


async def last_nights(run: Run, setup: Setup, night: Night, *, nights: int) -> list[NightSum]:
    """What was due tonight, in this night and those before; where nothing was, all there is of its kind."""
    span = Span(night.night, nights, setup.zone)
    due = [Due(**one.model_dump(include=set(Due.model_fields))) for one in night.played]
    if due:
        await look_up_runs(setup.planasonix, due, since=span.begin)
    sums: list[NightSum] = []
    for kind in {one.kind for one in due} or setup.selection.kinds:
        ids = {one.id for one in due if one.kind == kind} if due else None
        scope = (await source_of(run, setup.planasonix, kind)).scope
        found = await run.ledger.database.read(partial(_sums, scope, ids, span))
        sums = [one + other for one, other in zip(sums, found, strict=True)] if sums else found
    return sums


def _sums(scope: Scope, ids: set[str] | None, span: Span, connection: Connection) -> list[NightSum]:
    return sum_nights(runs_since(connection, scope, span.begin), ids, span)
