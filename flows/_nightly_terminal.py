"""`python -m flows.nightly_pipeline_sync`: the flow from a terminal."""

import asyncio
import os
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from prefect.settings import temporary_settings

from flows._nightly_models import Busy, Compare, FailOn, NightFailed, NightlyPipelineSync, Trigger, listed
from flows._terminal import FAILED, TEMPORARY_SERVER, UNUSABLE, show_progress
from flows.nightly_pipeline_sync import nightly_pipeline_sync
from plait.content.text import duration, one_line, printable
from plait.http.errors import ConfigurationError, InvalidInput, PlaitError
from tasks._retry import RETRIES_VARIABLE

Entries = list[str] | None


def run(
    *,
    pipeline: Annotated[
        Entries, typer.Option("--pipeline", "-p", help="An id, a name or a pattern; repeatable.")
    ] = None,
    connection: Annotated[Entries, typer.Option("--connection", "-c", help="The same; repeatable.")] = None,
    tag: Annotated[Entries, typer.Option("--tag", help="Active pipelines with this tag; repeatable.")] = None,
    trigger: Annotated[Trigger, typer.Option(help="Which of them are due.")] = Trigger.ALL,
    stale_hours: Annotated[float, typer.Option(help="For --trigger stale.")] = 20.0,
    logical_date: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The night; today's by default.")
    ] = None,
    timezone: Annotated[str, typer.Option(help="Where the nights are.")] = "UTC",
    catch_up: Annotated[int, typer.Option(min=0, max=31, help="Missed nights to make up for.")] = 0,
    series: Annotated[str | None, typer.Option(help="Nights of one series and date are one intent.")] = None,
    variable: Annotated[
        Entries, typer.Option(metavar="NAME=VALUE", help="{logical_date} is the night; repeatable.")
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=500, help="Runs at work at a time.")] = 8,
    deadline_minutes: Annotated[float, typer.Option(help="Minutes until a run counts as late.")] = 120.0,
    cancel_late: Annotated[bool, typer.Option(help="Whether to cancel what is late.")] = True,
    retries: Annotated[int, typer.Option(min=0, max=10, help="How often what failed is run again.")] = 0,
    busy: Annotated[Busy, typer.Option(help="Where somebody else syncs a connection.")] = Busy.WAIT,
    compare: Annotated[Compare, typer.Option(help="How closely definitions are compared.")] = Compare.AUTO,
    critical: Annotated[Entries, typer.Option(help="An id, name or pattern; repeatable.")] = None,
    fail_on: Annotated[FailOn, typer.Option(help="Which failures fail the run.")] = FailOn.ANY,
    log_lines: Annotated[int, typer.Option(min=0, max=1000, help="Of a failed run's log.")] = 20,
    poll_seconds: Annotated[float, typer.Option(help="Shortest pause between two looks.")] = 2.0,
    placet_channel: Annotated[str | None, typer.Option(help="Id of a channel to post to.")] = None,
    question: Annotated[str | None, typer.Option(help="Asked of a database at the end.")] = None,
    workspace: Annotated[str | None, typer.Option(help="Name or id of the Planck workspace.")] = None,
    database: Annotated[str | None, typer.Option(help="Name or id of its database.")] = None,
    planasonix: Annotated[str | None, typer.Option(help="Name of the Planasonix block.")] = None,
    placet: Annotated[str | None, typer.Option(help="Name of the Placet block.")] = None,
    planck: Annotated[str | None, typer.Option(help="Name of the Planck AI block.")] = None,
    ledger: Annotated[str | None, typer.Option(help="Name of the ledger block.")] = None,
    report: Annotated[Path | None, typer.Option(help="File of the HTML report.")] = None,
) -> None:
    """Run the pipelines that are due tonight, each once, and report on them."""
    show_progress()
    os.environ.setdefault(RETRIES_VARIABLE, "1")  # a person who watches would rather be told
    if not os.environ.get("PREFECT_API_URL"):
        typer.echo("PREFECT_API_URL is not set: starting a temporary Prefect server", err=True)
    try:
        with temporary_settings(TEMPORARY_SERVER):
            failed, result = asyncio.run(
                _play(
                    pipelines=pipeline,
                    connections=connection,
                    tags=tag,
                    trigger=trigger,
                    stale_hours=stale_hours,
                    logical_date=logical_date and logical_date.date(),
                    timezone=timezone,
                    catch_up=catch_up,
                    series=series,
                    variables=dict(map(_pair, variable or ())),
                    concurrency=concurrency,
                    deadline_minutes=deadline_minutes,
                    cancel_late=cancel_late,
                    retries=retries,
                    busy=busy,
                    compare=compare,
                    critical=critical,
                    fail_on=fail_on,
                    log_lines=log_lines,
                    poll_seconds=poll_seconds,
                    placet_channel=placet_channel,
                    question=question,
                    workspace=workspace,
                    database=database,
                    planasonix=planasonix,
                    placet=placet,
                    planck=planck,
                    ledger=ledger,
                    report=report,
                )
            )
    except PlaitError as error:
        typer.echo(f"Error: {printable(str(error))}", err=True)
        raise typer.Exit(
            UNUSABLE if isinstance(error, InvalidInput | ConfigurationError) else FAILED
        ) from None
    _print(result)
    if failed:
        raise typer.Exit(FAILED)


def main() -> None:
    """Run the command."""
    typer.run(run)


async def _play(**parameters: Any) -> tuple[bool, NightlyPipelineSync]:
    """Whether the night failed, and what the flow gave back; raises where it gave nothing."""
    try:
        return False, await nightly_pipeline_sync(**parameters)
    except NightFailed as failed:
        return True, failed.result


def _pair(given: str) -> tuple[str, str]:
    name, mark, value = given.partition("=")
    if not mark or not name:
        raise InvalidInput(f"--variable {given!r} has no name; write NAME=VALUE, as in day={{logical_date}}")
    return name, value


def _print(result: NightlyPipelineSync) -> None:
    night = result.tonight
    for one in night.played:
        took = "" if one.seconds is None else duration(one.seconds)
        rows = "" if one.rows is None else f"{one.rows:,}"
        error = one_line(one.error or "", 100)
        typer.echo(f"{one_line(one.name, 40):40} {one.became:10} {took:>8} {rows:>12}  {error}".rstrip())
    if result.answer is not None:
        typer.echo(f"\nQ: {one_line(result.answer.question)}\n\n{printable(result.answer.text)}\n")
    for words in result.problems:
        typer.echo(f"Problem: {one_line(words, 300)}")
    typer.echo(one_line(result.summary))
    if night.failures:
        typer.echo(f"Not succeeded: {one_line(listed(night.failures), 500)}")
    typer.echo(f"History: {night.requests:,} requests, {night.rows_written:,} rows written")
    typer.echo(f"Run key: {one_line(night.run_key)}")
    typer.echo(f"Report:  {result.report}")
    typer.echo(f"Chart:   {result.chart}")
