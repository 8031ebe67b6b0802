"""Run the pipelines that are due tonight, each once, and report on them against the last nights.

As a command:    python -m flows.nightly_pipeline_sync --pipeline "nightly_*"
As a function:   await nightly_pipeline_sync(pipelines=["nightly_*"])
As a deployment: see prefect.yaml

Definitions and run history are brought into the ledger first, incrementally. What is due is decided once for
a date, and each pipeline is started once for it, through retries, crashes and re-runs.
"""

from datetime import date
from pathlib import Path
from typing import Annotated, cast

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from pydantic import Field

from blocks import EffectLedger, PlacetCredentials, PlanasonixCredentials, PlanckCredentials
from flows._nightly_cancel import cancel_started
from flows._nightly_dates import missed, run_name, series_of, tonight, zone_of
from flows._nightly_models import (
    Busy,
    Compare,
    FailOn,
    NightFailed,
    NightlyPipelineSync,
    Policy,
    Selection,
    Setup,
    Trigger,
    listed,
)
from flows._nightly_plan import checked
from flows._nightly_play import last_nights, play
from flows._nightly_report import default_report, write_artifacts, write_files
from flows._nightly_words import ask, tell
from plait.pipelines.nights import night_key
from tasks import effects_of
from tasks._progress import say


@flow(
    name="nightly-pipeline-sync",
    description=__doc__,
    flow_run_name=run_name,
    on_cancellation=[cancel_started],
    validate_parameters=True,
)
async def nightly_pipeline_sync(
    pipelines: Annotated[list[str] | None, Field(examples=[["nightly_*"]])] = None,
    *,
    connections: Annotated[list[str] | None, Field(examples=[["orders_db"]])] = None,
    tags: list[str] | None = None,
    trigger: Trigger = Trigger.ALL,
    stale_hours: Annotated[float, Field(gt=0)] = 20.0,
    logical_date: date | None = None,
    timezone: Annotated[str, Field(examples=["Europe/Berlin"])] = "UTC",
    catch_up: Annotated[int, Field(ge=0, le=31)] = 0,
    series: str | None = None,
    variables: Annotated[dict[str, str] | None, Field(examples=[{"day": "{logical_date}"}])] = None,
    concurrency: Annotated[int, Field(gt=0, le=500)] = 8,
    deadline_minutes: Annotated[float, Field(gt=0)] = 120.0,
    cancel_late: bool = True,
    retries: Annotated[int, Field(ge=0, le=10)] = 0,
    busy: Busy = Busy.WAIT,
    compare: Compare = Compare.AUTO,
    critical: list[str] | None = None,
    fail_on: FailOn = FailOn.ANY,
    log_lines: Annotated[int, Field(ge=0, le=1000)] = 20,
    poll_seconds: Annotated[float, Field(gt=0, le=600)] = 2.0,
    placet_channel: str | None = None,
    question: str | None = None,
    workspace: str | None = None,
    database: str | None = None,
    planasonix: str | PlanasonixCredentials | None = None,
    placet: str | PlacetCredentials | None = None,
    planck: str | PlanckCredentials | None = None,
    ledger: str | EffectLedger | None = None,
    report: Path | None = None,
) -> NightlyPipelineSync:
    """Run what is due tonight.

    Args:
        pipelines: Ids, names or patterns such as nightly_*. A pattern means active pipelines only. Empty: all
            active pipelines, unless connections or tags are given.
        connections: Ids, names or patterns of connections to sync.
        tags: Active pipelines with one of these tags.
        trigger: Which of them are due. all. stale: without a success younger than stale_hours. failed: whose
            last run did not succeed. none: none, the history is brought in and reported.
        stale_hours: For stale.
        logical_date: The night. Empty: the date this run was scheduled for in the time zone, else today's.
            A second run of the same date starts nothing more.
        timezone: Where the nights are.
        catch_up: How many missed nights to make up for at most, before tonight's. Each is a night of its
            own, so that a pipeline that is due in it is started for it too.
        series: Nights of one series and date are one intent. Empty: the deployment, or local.
        variables: What every run is started with; {logical_date} stands for the night. Syncs of connections
            get them as metadata.
        concurrency: Runs at work at a time.
        deadline_minutes: From the start of a run until it counts as late.
        cancel_late: Whether to cancel what is late.
        retries: How often a pipeline that failed is run again tonight.
        busy: Where somebody else syncs a connection already. wait: sync it afterwards. adopt: take that job
            for ours. fail: report it.
        compare: How closely definitions are compared with those known. auto: all of them where a new night
            chooses by name, pattern or tag. quick: whether their numbers have changed, and all once a week.
        critical: Ids, names or patterns of pipelines and connections whose failure is critical.
        fail_on: Whether any failure, a critical one or none makes this run fail. Failures never stop others.
        log_lines: Lines of a failed run's log to keep.
        poll_seconds: The shortest pause between two looks at the list of runs.
        placet_channel: Id of a Placet channel to post the outcome to. Empty: nothing is posted.
        question: Asked of a database through Planck AI when all runs have ended. Empty: nothing is asked.
        workspace: Name or id of the Planck AI workspace; not needed where the key sees only one.
        database: Name or id of its database; not needed where there is only one.
        planasonix: Name of the Planasonix Credentials block. Empty: PLAIT_PLANASONIX_URL and _API_KEY.
        placet: Name of the Placet Credentials block. Empty: PLAIT_PLACET_URL and PLAIT_PLACET_API_KEY.
        planck: Name of the Planck AI Credentials block. Empty: PLAIT_PLANCK_URL and PLAIT_PLANCK_API_KEY.
        ledger: Name of the Plait Effect Ledger block. Empty: PLAIT_LEDGER_URL, or ~/.plait/ledger.db.
        report: File of the HTML report; the chart stands beside it as .png. Empty: a file in the folder
            reports, named after the night.

    Raises:
        NightFailed: Something that fail_on counts has not succeeded; its result is that of the flow.
    """
    everything = pipelines is None and not (connections or tags)
    selection = Selection(
        pipelines=["*"] if everything else pipelines or [],
        connections=connections or [],
        tags=tags or [],
        critical=critical or [],
    )
    checked(selection, variables or {})
    setup = Setup(
        planasonix=planasonix,
        series=series_of(series),
        zone=zone_of(timezone),
        selection=selection,
        policy=Policy(trigger=trigger, stale_hours=stale_hours),
        compare=compare,
        values=variables or {},
        concurrency=concurrency,
        deadline=deadline_minutes * 60,
        cancel_late=cancel_late,
        retries=retries,
        log_lines=log_lines,
        busy=busy,
        poll=poll_seconds,
    )
    night = tonight(logical_date, setup.zone)
    page = (report or default_report(setup.series, night.isoformat())).expanduser().absolute()
    async with effects_of(ledger, run_key=night_key(setup.series, night)) as run:
        nights = []
        for earlier in await missed(run.ledger, setup.series, night, at_most=catch_up, zone=setup.zone):
            say(f"{earlier} was missed and is made up for")
            async with effects_of(ledger, run_key=night_key(setup.series, earlier)) as other:
                nights.append(await play(other, setup, earlier))
        nights.append(await play(run, setup, night))
        past = await last_nights(run, setup, nights[-1], nights=15)
        result = NightlyPipelineSync(nights=nights, past=past, report=page, chart=page.with_suffix(".png"))
        await ask(planck, result, question, workspace=workspace, database=database)
        await tell(placet, result, placet_channel)
    await write_files(result)
    await write_artifacts(result)
    say(f"Report: {result.report}")
    return cast("NightlyPipelineSync", _ended(result, fail_on))


def _ended(result: NightlyPipelineSync, fail_on: FailOn) -> State[NightlyPipelineSync]:
    """The run's final state: failed with the list, or completed."""
    failures = result.failures(fail_on)
    problems = "; ".join(result.problems)
    if not failures and not (problems and fail_on is FailOn.ANY):
        return Completed(message=result.summary, data=result)
    why = "; ".join(part for part in (listed(failures), problems) if part)
    message = f"{result.summary}: {why}"
    return Failed(message=message, data=NightFailed(message, result))


if __name__ == "__main__":
    from flows._nightly_terminal import main

    main()
